//! Cgroups of the v2 hierarchy, as the kernel side knows them: by id.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A cgroup's id is its directory's inode number.
pub fn id(cgroup: &Path) -> io::Result<u64> {
    Ok(fs::metadata(cgroup)?.ino())
}

/// The cgroup and all below it, outermost first.
pub fn subtree(cgroup: &Path) -> Vec<PathBuf> {
    let mut found = vec![cgroup.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        // One that went away meanwhile has no children.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        found.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found
}

/// The processes in the cgroup itself.
pub fn processes(cgroup: &Path) -> impl Iterator<Item = u32> {
    let list = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>().into_iter()
}

/// Moves each thread in the cgroup to where it is: the move is what marks it.
pub fn touch_threads(cgroup: &Path) {
    for file in ["cgroup.procs", "cgroup.threads"] {
        let path = cgroup.join(file);
        let Ok(list) = fs::read_to_string(&path) else { continue };
        for task in list.lines() {
            // A task that ended meanwhile needs no mark.
            let _ = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(task.as_bytes()));
        }
    }
}
