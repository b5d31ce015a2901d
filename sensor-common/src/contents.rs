//! By what a file is known to hold what it held when it was read: another file has another number or generation, and what
//! was changed since has another time of change, which no program sets.

use crate::hash::{Secret, component_start, component_word};

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Of the inode.
    pub number: u64,
    /// Of its last change: seconds, and nanoseconds.
    pub seconds: u64,
    pub nanoseconds: u32,
    pub generation: u32,
    /// The filesystem's, as the kernel has it: twenty bits for the minor number.
    pub device: u32,
    pub reserved: u32,
}

impl Identity {
    /// Never 0.
    #[inline(always)]
    pub const fn hash(&self, secret: Secret) -> u64 {
        let file = component_word(component_start(secret, self.number), self.seconds, secret);
        let which = self.generation as u64 | (self.device as u64) << 32;
        component_word(component_word(file, which, secret), self.nanoseconds as u64, secret) | 1
    }
}

/// The kernel's number of a device.
pub const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | minor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_makes_another() {
        let secret = Secret::new(7);
        let one = Identity { number: 1, seconds: 2, nanoseconds: 3, generation: 4, device: device(8, 1), reserved: 0 };
        let others = [
            Identity { number: 2, ..one },
            Identity { seconds: 3, ..one },
            Identity { nanoseconds: 4, ..one },
            Identity { generation: 5, ..one },
            Identity { device: device(8, 2), ..one },
            Identity { number: 2, seconds: 1, ..one },
        ];
        for other in others {
            assert_ne!(one.hash(secret), other.hash(secret), "{other:?}");
        }
        assert_ne!(one.hash(secret), one.hash(Secret::new(8)));
    }
}
