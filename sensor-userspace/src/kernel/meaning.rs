//! What a call means: the actions it is judged as, from its arguments alone.

use sensor_common::{
    action::Action,
    event::flag,
    syscalls::{Shape, Syscall},
};

use super::{HookVerdict, Operand};

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
                if how & libc::RENAME_EXCHANGE != 0 {
                    means.extend([(Action::FileRename, Second), (Action::FileCreate, First)]);
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

/// Puts right what the arguments alone suggest by what hooks found, and adds what only they know.
pub fn as_found(row: &Syscall, means: &mut Vec<(Action, Operand)>, hooks: &[HookVerdict]) {
    if hooks.is_empty() {
        return;
    }
    let found = |action: Action| hooks.iter().any(|hook| hook.action == action);
    let access = [Action::FileRead, Action::FileWrite, Action::DirList];
    match row.shape {
        _ if row.is_of_hooks() => means.clear(),
        Shape::Open | Shape::OpenHow => correct_open(means, &found, &access),
        _ if row.name == "creat" => correct_open(means, &found, &access),
        // Its hook knows whether there is anything to cut.
        _ if row.action == Action::FileWrite && found(Action::FileWrite) => {
            means.retain(|(action, _)| *action != Action::FileDelete || found(*action));
        }
        // Its hook sees all of it, and knows what stands at the new name.
        _ if row.action == Action::FileRename => means.retain(|(action, _)| found(*action)),
        _ => {}
    }
    for hook in hooks {
        if !means.iter().any(|(action, _)| *action == hook.action) {
            means.push((hook.action, Operand::First));
        }
    }
}

fn correct_open(means: &mut Vec<(Action, Operand)>, found: &dyn Fn(Action) -> bool, access: &[Action]) {
    let opened = access.iter().any(|action| found(*action));
    let made = found(Action::FileCreate);
    means.retain(|(action, _)| match action {
        action if found(*action) => true,
        // What was opened, and not made by that, was there; and it is what the hook says it is.
        Action::FileCreate => !opened,
        action if access.contains(action) => !opened,
        Action::FileDelete => !made,
        _ => true,
    });
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
                // What it needed a capability for is what it is called by.
                let telling = means.iter().rfind(|(action, _)| *action != Action::SysCapability);
                telling.map_or(row.action, |(action, _)| *action)
            }
        }
        _ => row.action,
    }
}

#[cfg(test)]
mod tests {
    use sensor_common::syscalls::SYSCALLS;

    use super::*;

    #[test]
    fn hooks_know_better_than_arguments() {
        use Action::{DirList, FileCreate, FileDelete, FileMapExec, FileRead, FileRename, FileWrite, ProcExec};
        let row = |name| SYSCALLS.iter().find(|row| row.name == name).unwrap();
        let verbs = |name, found: &[Action], means: &[Action]| {
            let mut means: Vec<_> = means.iter().map(|action| (*action, Operand::First)).collect();
            let hook = |action: &Action| HookVerdict {
                action: *action,
                object: None,
                effect: 0,
                rule: None,
                would: None,
                unknown: false,
                blocked: false,
                written: false,
                program_unknown: false,
                by_program: false,
                watched: Vec::new(),
            };
            as_found(row(name), &mut means, &found.iter().map(hook).collect::<Vec<_>>());
            means.into_iter().map(|(action, _)| action).collect::<Vec<_>>()
        };
        let make = [FileCreate, FileWrite, FileDelete];
        // No hook was reached: all that it may have meant.
        assert_eq!(verbs("openat", &[], &make), make);
        // It was there, and its opening was refused before it was cut.
        assert_eq!(verbs("openat", &[FileWrite], &make), [FileWrite, FileDelete]);
        // It would have been made: nothing to cut.
        assert_eq!(verbs("openat", &[FileCreate], &make), [FileCreate, FileWrite]);
        assert_eq!(verbs("creat", &[FileCreate, FileWrite], &make), [FileCreate, FileWrite]);
        assert_eq!(verbs("open", &[DirList], &[FileRead]), [DirList]);
        let cut = [FileWrite, FileDelete];
        assert_eq!(verbs("truncate", &cut, &cut), cut);
        assert_eq!(verbs("ftruncate", &[FileWrite], &cut), [FileWrite], "of a file that keeps nothing");
        assert_eq!(verbs("truncate", &[Action::SysCapability], &cut), [FileWrite, FileDelete, Action::SysCapability]);
        let renamed = [FileRename, FileDelete, FileCreate, FileDelete];
        let made = [FileRename, FileDelete, FileCreate];
        assert_eq!(verbs("rename", &made, &renamed), renamed);
        assert_eq!(verbs("rename", &[FileRename], &renamed), [FileRename]);
        assert_eq!(verbs("execve", &[ProcExec, FileMapExec], &[ProcExec]), [ProcExec, FileMapExec]);
        assert_eq!(verbs("mmap", &[FileMapExec], &[FileMapExec, FileRead]), [FileMapExec]);
    }

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
