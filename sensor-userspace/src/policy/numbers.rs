//! Signals and capabilities, as rules and records call them.

use sensor_common::action::Action;
use sensor_common::numbers::{CAPABILITIES, LAST_SIGNAL, OTHER_SIGNALS, SIGNALS, of_capability, of_signal};

/// What a rule names by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    Signal,
    Capability,
}

impl Numbered {
    pub const ALL: [Numbered; 2] = [Numbered::Signal, Numbered::Capability];

    /// What the action is about; none for most.
    pub fn of(action: Action) -> Option<Numbered> {
        Numbered::ALL.into_iter().find(|kind| kind.action() == action)
    }

    pub const fn action(self) -> Action {
        match self {
            Numbered::Signal => Action::ProcSignal,
            Numbered::Capability => Action::SysCapability,
        }
    }

    /// Whether an action has such an object.
    pub const fn fits(self) -> fn(Action) -> bool {
        match self {
            Numbered::Signal => |action| matches!(action, Action::ProcSignal),
            Numbered::Capability => |action| matches!(action, Action::SysCapability),
        }
    }

    pub const fn key(self) -> &'static str {
        match self {
            Numbered::Signal => "signal",
            Numbered::Capability => "capability",
        }
    }

    pub const fn prefix(self) -> &'static str {
        match self {
            Numbered::Signal => "SIG",
            Numbered::Capability => "CAP_",
        }
    }

    /// By its bit plus one: `SIGKILL`, `CAP_NET_RAW`; what has no name by its number.
    pub fn name(self, which: u8) -> String {
        let (names, first): (&[&str], u8) = match self {
            Numbered::Signal => (&SIGNALS, 1),
            Numbered::Capability => (&CAPABILITIES, 0),
        };
        let known = names.get(usize::from(which.wrapping_sub(1)));
        known.map_or_else(|| which.wrapping_sub(1).wrapping_add(first).to_string(), |name| (*name).to_owned())
    }

    /// Of all whose bits are set.
    pub fn names(self, bits: u64) -> impl Iterator<Item = String> {
        (1..=64_u8).filter(move |which| bits >> (which - 1) & 1 != 0).map(move |which| self.name(which))
    }

    /// The bit plus one of a name, with its `SIG` or `CAP_` or without, or of a number.
    pub fn parse(self, text: &str) -> Option<u8> {
        let bare = text.strip_prefix(self.prefix()).unwrap_or(text);
        match self {
            Numbered::Signal => {
                let numbers = 1_u8..;
                let named = SIGNALS.iter().copied().zip(numbers).chain(OTHER_SIGNALS);
                let number = find(named, self.prefix(), bare).or_else(|| number(text))?;
                (1..=LAST_SIGNAL).contains(&number).then(|| of_signal(number.into()) as u8)
            }
            Numbered::Capability => {
                let number =
                    find(CAPABILITIES.into_iter().zip(0_u8..), self.prefix(), bare).or_else(|| number(text))?;
                (number < 64).then(|| of_capability(number.into()) as u8)
            }
        }
    }

    /// All names, each with its prefix and without.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let names: Vec<&'static str> = match self {
            Numbered::Signal => SIGNALS.into_iter().chain(OTHER_SIGNALS.map(|(name, _)| name)).collect(),
            Numbered::Capability => CAPABILITIES.to_vec(),
        };
        let prefix = self.prefix().len();
        names.into_iter().flat_map(move |name| [name, &name[prefix..]])
    }
}

fn find(mut named: impl Iterator<Item = (&'static str, u8)>, prefix: &str, bare: &str) -> Option<u8> {
    named.find(|(name, _)| name.strip_prefix(prefix) == Some(bare)).map(|(_, number)| number)
}

/// Digits alone: no sign, nothing before them.
fn number(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_one() {
        for which in 1..=64 {
            for kind in Numbered::ALL {
                assert_eq!(kind.parse(&kind.name(which)), Some(which), "{kind:?} {which}");
            }
        }
        for (text, which) in [("KILL", 9), ("SIGKILL", 9), ("9", 9), ("SIGPOLL", 29), ("IO", 29), ("64", 64)] {
            assert_eq!(Numbered::Signal.parse(text), Some(which), "{text}");
        }
        for (text, which) in [("CAP_CHOWN", 1), ("NET_RAW", 14), ("13", 14), ("63", 64)] {
            assert_eq!(Numbered::Capability.parse(text), Some(which), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "+9", "09", "sigkill", "SIGRTMIN", "SIG9", "CAP_CHOWN", "999"] {
            assert_eq!(Numbered::Signal.parse(text), None, "{text}");
        }
        for text in ["", "CAP_", "64", "CAP_13", "SIGKILL", "cap_chown"] {
            assert_eq!(Numbered::Capability.parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_has_no_name_goes_by_its_number() {
        assert_eq!(Numbered::Signal.name(34), "34");
        assert_eq!(Numbered::Capability.name(42), "41");
        let all: Vec<String> = Numbered::Signal.names(1 << 8 | 1 << 63).collect();
        assert_eq!(all, ["SIGKILL", "64"]);
    }
}
