//! What hooks ask of an open file.

use sensor_common::event::Slot;

use crate::{
    at_once::{field, read_words, within},
    kernel::{off, read},
};

/// A file has them among its first.
const WORDS: usize = 12;

pub struct File {
    pub flags: u32,
    pub mode: u32,
    pub mount: u64,
    pub dentry: u64,
    pub inode: u64,
}

#[inline(always)]
pub fn look(slot: *mut Slot, file: u64) -> Option<File> {
    let (of_mount, of_dentry) =
        (off::off_file_path() + off::off_path_mnt(), off::off_file_path() + off::off_path_dentry());
    let (Some(flags), Some(mode), Some(mount), Some(dentry), Some(inode)) = (
        within(0, WORDS, off::off_file_flags(), 4),
        within(0, WORDS, off::off_file_mode(), 4),
        within(0, WORDS, of_mount, 8),
        within(0, WORDS, of_dentry, 8),
        within(0, WORDS, off::off_file_inode(), 8),
    ) else {
        return Some(File {
            flags: read(file + off::off_file_flags())?,
            mode: read(file + off::off_file_mode())?,
            mount: read(file + of_mount)?,
            dentry: read(file + of_dentry)?,
            inode: read(file + off::off_file_inode())?,
        });
    };
    let found = read_words(slot, WORDS, file)?;
    // SAFETY: all lie within what was read.
    unsafe {
        Some(File {
            flags: field(found, flags),
            mode: field(found, mode),
            mount: field(found, mount),
            dentry: field(found, dentry),
            inode: field(found, inode),
        })
    }
}
