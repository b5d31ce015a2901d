//! What a call means: the actions it is judged as, from its arguments alone.

use sensor_common::{
    action::Action,
    event::flag,
    syscalls::{Shape, Syscall},
};

use super::Operand;

/// What the call means, from its arguments.
pub fn meaning(row: &Syscall, nr_args: &[u64; 6], flags: u32, result: Option<i64>) -> Vec<(Action, Operand)> {
    use Operand::{First, Second};
    let succeeded = result.is_some_and(|result| result >= 0);
    match row.shape {
        Shape::Open => open(nr_args[usize::from(row.flags) % 6], flags, succeeded),
        Shape::OpenHow => open(nr_args[5], flags, succeeded),
        _ => match row.name {
            "creat" => open((libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64, flags, succeeded),
            "rename" | "renameat" | "renameat2" => {
                let how = if row.name == "renameat2" { nr_args[4] as u32 } else { 0 };
                let mut means =
                    vec![(Action::FileRename, First), (Action::FileDelete, First), (Action::FileCreate, Second)];
                // Whether something stood there is not known from the argument: it may be renamed over.
                if how & libc::RENAME_NOREPLACE == 0 {
                    means.push((Action::FileDelete, Second));
                }
                means
            }
            "link" | "linkat" => vec![(Action::FileLink, First), (Action::FileCreate, Second)],
            "symlink" | "symlinkat" => vec![(Action::FileLink, Second), (Action::FileCreate, Second)],
            // i386's 64-bit lengths come in two words.
            "truncate64" | "ftruncate64" if nr_args[1] | nr_args[2] != 0 => vec![(Action::FileWrite, First)],
            "truncate" | "ftruncate" | "truncate64" | "ftruncate64" if nr_args[1] == 0 => {
                vec![(Action::FileWrite, First), (Action::FileDelete, First)]
            }
            "sendto" if nr_args[3] as i32 & libc::MSG_FASTOPEN != 0 => {
                vec![(Action::NetSend, First), (Action::NetConnect, First)]
            }
            _ => vec![(row.action, First)],
        },
    }
}

fn open(how: u64, flags: u32, succeeded: bool) -> Vec<(Action, Operand)> {
    let how = how as i32;
    let writes = how & libc::O_ACCMODE != libc::O_RDONLY;
    let reads = how & libc::O_ACCMODE != libc::O_WRONLY;
    let created = flags & flag::CREATED != 0;
    let regular = flags & flag::SPECIAL == 0;
    let mut means = Vec::with_capacity(4);
    // The most telling first: it names the attempt.
    if how & libc::O_TMPFILE == libc::O_TMPFILE || how & libc::O_CREAT != 0 && (created || !succeeded) {
        means.push(Action::FileCreate);
    }
    if writes {
        means.push(Action::FileWrite);
    }
    if reads {
        means.push(if how & libc::O_DIRECTORY != 0 && !writes { Action::DirList } else { Action::FileRead });
    }
    // A file just made has nothing to lose, nor has a device.
    if how & libc::O_TRUNC != 0 && writes && !created && regular {
        means.push(Action::FileDelete);
    }
    means.into_iter().map(|action| (action, Operand::First)).collect()
}

/// The action an attempt is called by.
pub fn called_by(row: &Syscall, means: &[(Action, Operand)], flags: u32) -> Action {
    match row.shape {
        Shape::Open | Shape::OpenHow => {
            let has = |action| means.iter().any(|(each, _)| *each == action);
            if flags & flag::CREATED != 0 {
                Action::FileCreate
            } else if has(Action::FileWrite) {
                Action::FileWrite
            } else {
                means.last().map_or(row.action, |(action, _)| *action)
            }
        }
        _ => row.action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_means_what_its_flags_say() {
        let verbs = |how: i32, flags, done| {
            open(how as u64, flags, done).into_iter().map(|(action, _)| action).collect::<Vec<_>>()
        };
        assert_eq!(verbs(libc::O_RDONLY, 0, true), [Action::FileRead]);
        assert_eq!(verbs(libc::O_RDONLY | libc::O_DIRECTORY, 0, true), [Action::DirList]);
        let make = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        assert_eq!(verbs(make, flag::CREATED, true), [Action::FileCreate, Action::FileWrite]);
        assert_eq!(verbs(make, 0, true), [Action::FileWrite, Action::FileDelete]);
        assert_eq!(verbs(make, flag::SPECIAL, true), [Action::FileWrite]);
        assert_eq!(verbs(make, 0, false), [Action::FileCreate, Action::FileWrite, Action::FileDelete]);
    }
}
