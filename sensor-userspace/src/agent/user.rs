//! Users, from the system's own database.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub name: CString,
    pub home: PathBuf,
}

/// Longest answer taken from the user database.
const ROOM: usize = 64 * 1024;

pub fn we_are_root() -> bool {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

impl User {
    pub fn by_uid(uid: u32) -> io::Result<Option<User>> {
        let mut room = vec![0_u8; ROOM];
        // SAFETY: an all-zero passwd is a valid value of that C struct: integers and null pointers.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: every pointer is to a live local of the size given; `found` is checked before use.
        let code = unsafe { libc::getpwuid_r(uid, &mut entry, room.as_mut_ptr().cast(), room.len(), &mut found) };
        if code != 0 && code != libc::ENOENT {
            return Err(io::Error::from_raw_os_error(code));
        }
        if found.is_null() || entry.pw_name.is_null() || entry.pw_dir.is_null() {
            return Ok(None);
        }
        // SAFETY: getpwuid_r succeeded: both are NUL-terminated strings within `room`, which lives.
        let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
        Ok(Some(User {
            uid,
            gid: entry.pw_gid,
            name: name.to_owned(),
            home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
        }))
    }

    /// Supplementary groups, the primary one included.
    pub fn groups(&self) -> io::Result<Vec<libc::gid_t>> {
        let mut groups: Vec<libc::gid_t> = vec![0; 64];
        for _ in 0..8 {
            let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
            // SAFETY: `groups` has room for `count` entries, and the name is NUL-terminated.
            let code = unsafe { libc::getgrouplist(self.name.as_ptr(), self.gid, groups.as_mut_ptr(), &mut count) };
            let needed = usize::try_from(count).unwrap_or(0);
            if code >= 0 {
                groups.truncate(needed);
                return Ok(groups);
            }
            groups.resize(needed.max(groups.len() * 2), 0);
        }
        Err(io::Error::other("the list of groups does not end"))
    }
}

/// On whose authority a process runs: who logged in, else its own user.
pub fn principal(pid: u32, uid: u32) -> String {
    let login = fs::read_to_string(format!("/proc/{pid}/loginuid"))
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|login| *login != u32::MAX);
    format!("uid:{}", login.unwrap_or(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_nobody_else_is_invented() {
        let root = User::by_uid(0).unwrap().unwrap();
        assert_eq!(root.name.to_bytes(), b"root");
        assert!(root.groups().unwrap().contains(&0));
        assert_eq!(User::by_uid(3_999_999_999).unwrap(), None);
    }
}
