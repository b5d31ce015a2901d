//! A call's arguments as written, read by the syscall table.

use sensor_common::{
    event::{Fault, Slot, UNREAD, flag, section},
    syscalls::{Shape, Spec},
};

use crate::{
    call::{Call, argument, has, shape_is},
    emit,
    kernel::{current_task, file_of, off, read, read_user},
    maps, name,
    section::{Path, Read, address, argv, kernel_string, same_sections, used, user_path, user_string},
};

/// A function of its own: a call comes here in many ways, and the verifier would follow each of them to the end.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn at_entry(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (id, args, compat) =
        unsafe { ((*slot).attempt.syscall, (*slot).attempt.args, (*slot).attempt.flags & flag::COMPAT != 0) };
    let Some(spec) = maps::BY_ID.get(u32::from(id)) else { return 1 };
    let args = &args;
    let mut flags = 0;
    let mut begins = [Path::Relative; 2];
    if has(spec.path) {
        let (read, how) = user_path(slot, section::PATH, argument(args, spec.path));
        begins[0] = how;
        if read == Read::Unreadable {
            flags |= flag::UNREADABLE;
        }
    }
    if has(spec.path2) {
        let (read, how) = user_path(slot, section::PATH2, argument(args, spec.path2));
        begins[1] = how;
        if read == Read::Unreadable {
            flags |= flag::UNREADABLE2;
        }
    }
    if shape_is(spec, Shape::Address)
        && address(slot, argument(args, spec.pointer), u64::from(argument(args, spec.length) as u32))
            == Read::Unreadable
    {
        flags |= flag::UNREADABLE;
    }
    if shape_is(spec, Shape::Message) && message(slot, argument(args, spec.pointer), compat) == Read::Unreadable {
        flags |= flag::UNREADABLE;
    }
    if shape_is(spec, Shape::OpenHow)
        && let Some(how) = read_user::<u64>(argument(args, spec.pointer))
    {
        // The call's sixth argument is unused: it carries the flags from here on.
        // SAFETY: as above.
        unsafe { (*slot).attempt.args[5] = how };
    }
    if shape_is(spec, Shape::Exec) && !argv(slot, index, argument(args, spec.pointer)) {
        flags |= flag::UNREADABLE2;
    }
    places(slot, index, current_task(), spec, args, begins);
    // SAFETY: as above.
    unsafe { (*slot).attempt.flags |= flags };
    0
}

/// Whether a call made again still has the first argument that its attempt was begun with. An agent can leave
/// a signal's handler by a long jump, write other bytes behind the same pointer, and make the same call.
#[inline(always)]
pub fn unchanged(slot: *mut Slot, index: u32, call: &Call) -> bool {
    let (spec, args) = (&call.spec, &call.args);
    let before = used(slot);
    let again = if has(spec.path) {
        user_string(slot, section::PATH, argument(args, spec.path))
    } else if shape_is(spec, Shape::Address) {
        address(slot, argument(args, spec.pointer), u64::from(argument(args, spec.length) as u32))
    } else if shape_is(spec, Shape::Message) {
        message(slot, argument(args, spec.pointer), call.compat)
    } else {
        Read::Whole
    };
    let after = used(slot);
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        (*slot).attempt.sections = before as u32;
        if let Some(secret) = maps::SECRET.get(0) {
            (*slot).walk.secret = *secret;
        }
        let first = (*slot).walk.argument;
        match again {
            // Neither then nor now was there anything to read.
            Read::Whole if after == before => first == UNREAD,
            Read::Whole if first != UNREAD => same_sections(index, first, before as u32) == 1,
            _ => false,
        }
    }
}

/// Where paths start: the root for absolute ones, the directory for others; or what a lone descriptor is.
#[inline(always)]
fn places(slot: *mut Slot, index: u32, task: u64, spec: &Spec, args: &[u64; 6], begins: [Path; 2]) {
    if has(spec.path) || has(spec.dirfd) {
        let start = start(task, begins[0] == Path::Absolute, has(spec.dirfd), argument(args, spec.dirfd));
        if start != 0 {
            name::place(slot, index, section::BASE, start);
        }
    }
    if has(spec.path2) {
        let start = start(task, begins[1] == Path::Absolute, has(spec.dirfd2), argument(args, spec.dirfd2));
        if start != 0 {
            name::place(slot, index, section::BASE2, start);
        }
    }
    if begins[0] == Path::Unread || begins[1] == Path::Unread {
        let root = start(task, true, false, 0);
        if root != 0 {
            name::place(slot, index, section::ROOT, root);
        }
    }
}

/// Address of the `struct path` that the root, a descriptor, or the working directory is.
#[inline(always)]
fn start(task: u64, absolute: bool, by_descriptor: bool, fd: u64) -> u64 {
    const AT_FDCWD: i32 = -100;
    if !absolute && by_descriptor && fd as i32 != AT_FDCWD {
        let file = file_of(task, fd);
        return if file == 0 { 0 } else { file + off::off_file_path() };
    }
    match read::<u64>(task + off::off_task_fs()) {
        Some(fs) if fs != 0 && absolute => fs + off::off_fs_root(),
        Some(fs) if fs != 0 => fs + off::off_fs_pwd(),
        _ => 0,
    }
}

#[inline(always)]
fn message(slot: *mut Slot, header: u64, compat: bool) -> Read {
    if compat {
        return match read_user::<[u32; 2]>(header) {
            Some([name, len]) => address(slot, u64::from(name), u64::from(len)),
            None => Read::Unreadable,
        };
    }
    match read_user::<[u64; 2]>(header) {
        Some([name, len]) => address(slot, name, len & 0xffff_ffff),
        None => Read::Unreadable,
    }
}

/// The call has touched its arguments by now: what was not resident is.
#[inline(always)]
pub fn at_return(slot: *mut Slot, index: u32) {
    // SAFETY: `slot` points to a whole map value, here and below.
    let (flags, id, args) = unsafe { ((*slot).attempt.flags, (*slot).attempt.syscall, (*slot).attempt.args) };
    let Some(spec) = maps::BY_ID.get(u32::from(id)) else { return };
    let mut cleared = 0;
    if flags & flag::UNREADABLE != 0 {
        let again = if has(spec.path) {
            user_string(slot, section::PATH, argument(&args, spec.path))
        } else if shape_is(spec, Shape::Address) {
            address(slot, argument(&args, spec.pointer), u64::from(argument(&args, spec.length) as u32))
        } else {
            message(slot, argument(&args, spec.pointer), flags & flag::COMPAT != 0)
        };
        if again == Read::Whole {
            cleared |= flag::UNREADABLE;
        }
    }
    if flags & flag::UNREADABLE2 != 0 {
        let again = if shape_is(spec, Shape::Exec) {
            argv(slot, index, argument(&args, spec.pointer))
        } else {
            user_string(slot, section::PATH2, argument(&args, spec.path2)) == Read::Whole
        };
        if again {
            cleared |= flag::UNREADABLE2;
        }
    }
    // SAFETY: as above.
    unsafe {
        (*slot).attempt.flags &= !cleared;
        if cleared != 0 {
            (*slot).attempt.flags |= flag::READ_AT_RETURN;
        }
        const EFAULT: i64 = -14;
        if (*slot).attempt.flags & (flag::UNREADABLE | flag::UNREADABLE2) != 0 && (*slot).attempt.result != EFAULT {
            emit::fault(Fault::Unreadable);
        }
    }
}

/// After an exec the old memory is gone; the new program holds the same strings.
#[inline(always)]
pub fn of_new_program(slot: *mut Slot, index: u32, task: u64, bprm: u64) {
    // SAFETY: `slot` points to a whole map value, here and below.
    let flags = unsafe { (*slot).attempt.flags };
    let mut cleared = 0;
    if flags & flag::UNREADABLE != 0
        && let Some(filename) = read::<u64>(bprm + off::off_bprm_filename())
        && kernel_string(slot, section::PATH, filename) == Read::Whole
    {
        cleared |= flag::UNREADABLE;
    }
    let Some(mm) = read::<u64>(task + off::off_task_mm()) else { return };
    if flags & flag::UNREADABLE2 != 0 {
        let begin = read::<u64>(mm + off::off_mm_arg_start()).unwrap_or(0);
        let end = read::<u64>(mm + off::off_mm_arg_end()).unwrap_or(0);
        if begin != 0 && end > begin && crate::section::argv_of_new_program(slot, begin, end - begin) {
            cleared |= flag::UNREADABLE2 | flag::ARGV_TRUNCATED;
        }
    }
    if let Some(exe) = read::<u64>(mm + off::off_mm_exe_file())
        && exe != 0
    {
        name::place(slot, index, section::EXE, exe + off::off_file_path());
    }
    // SAFETY: as above.
    unsafe {
        (*slot).attempt.flags &= !cleared;
        if cleared != 0 {
            (*slot).attempt.flags |= flag::READ_AT_RETURN;
        }
    }
}
