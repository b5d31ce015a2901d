//! Finds the program before it is run, so that the search is not the agent's.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What shells search when PATH is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, Error)]
pub enum Missing {
    #[error("{0}: command not found in PATH")]
    NotFound(String),
    #[error("{0}: no such file")]
    NoFile(String),
    #[error("{0}: {1}")]
    NotExecutable(String, &'static str),
}

impl Missing {
    /// As shells say it.
    pub fn code(&self) -> u8 {
        match self {
            Missing::NotFound(_) | Missing::NoFile(_) => 127,
            Missing::NotExecutable(..) => 126,
        }
    }
}

pub fn program(name: &OsStr) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    program_in(name, &path)
}

fn program_in(name: &OsStr, search: &OsStr) -> Result<PathBuf, Missing> {
    let shown = name.to_string_lossy().into_owned();
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        return match fault(path) {
            None => Ok(path.to_path_buf()),
            Some(Fault::Absent) => Err(Missing::NoFile(shown)),
            Some(Fault::Not(why)) => Err(Missing::NotExecutable(shown, why)),
        };
    }
    let mut refused = None;
    for dir in search.as_bytes().split(|byte| *byte == b':') {
        // An empty entry is the directory one stands in.
        let path = match dir {
            b"" => Path::new(".").join(name),
            dir => Path::new(OsStr::from_bytes(dir)).join(name),
        };
        match fault(&path) {
            None if !name.is_empty() => return Ok(path),
            Some(Fault::Not(why)) if refused.is_none() && !name.is_empty() => {
                refused = Some(Missing::NotExecutable(path.to_string_lossy().into_owned(), why));
            }
            _ => {}
        }
    }
    Err(refused.unwrap_or(Missing::NotFound(shown)))
}

enum Fault {
    Absent,
    Not(&'static str),
}

fn fault(path: &Path) -> Option<Fault> {
    let Ok(meta) = fs::metadata(path) else {
        return Some(Fault::Absent);
    };
    if meta.is_dir() {
        return Some(Fault::Not("is a directory"));
    }
    let executable = CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        // SAFETY: `path` is NUL-terminated and lives through the call.
        unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
    });
    (!executable || meta.permissions().mode() & 0o111 == 0).then_some(Fault::Not("permission to execute it is denied"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_searched_as_shells_do() {
        let dir = std::env::temp_dir().join(format!("rgt-find-{}", std::process::id()));
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::create_dir_all(one.join("sub")).unwrap();
        fs::create_dir_all(&two).unwrap();
        fs::write(one.join("tool"), "").unwrap();
        fs::write(two.join("tool"), "").unwrap();
        fs::set_permissions(two.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let search = format!("{}:{}", one.display(), two.display());
        let find = |name: &str| program_in(OsStr::new(name), OsStr::new(&search));
        assert_eq!(find("tool").unwrap(), two.join("tool"));
        assert_eq!(find("nothing").unwrap_err().code(), 127);
        assert_eq!(find("").unwrap_err().code(), 127);
        assert_eq!(find("sub").unwrap_err().code(), 126);
        assert_eq!(find(one.join("tool").to_str().unwrap()).unwrap_err().code(), 126);
        assert_eq!(find(one.join("none").to_str().unwrap()).unwrap_err().code(), 127);
        fs::remove_dir_all(dir).unwrap();
    }
}
