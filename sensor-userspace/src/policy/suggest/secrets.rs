//! Places that nothing may be widened across, and that a person must see one by one.

use crate::policy::pattern::Variables;
use crate::policy::place::components;

/// Directories by their name, wherever they stand.
const DIRECTORIES: [&[&str]; 11] = [
    &[".ssh"],
    &[".aws"],
    &[".gnupg"],
    &[".azure"],
    &[".kube"],
    &[".docker"],
    &[".password-store"],
    &[".config", "gcloud"],
    &[".config", "gh"],
    &[".local", "share", "keyrings"],
    &[".mozilla"],
];
/// Files by their name, wherever they stand.
const FILES: [&str; 10] = [
    ".env", ".netrc", ".git-credentials", ".pypirc", ".pgpass", ".vault-token", "id_rsa", "id_dsa", "id_ecdsa",
    "id_ed25519",
];
const SYSTEM_FILES: [&str; 5] = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers"];
const SYSTEM_DIRECTORIES: [&str; 5] =
    ["/etc/sudoers.d", "/etc/ssl/private", "/run/secrets", "/var/run/secrets", "/var/lib/rgt"];
const ROOT_HOME: &str = "/root";

/// One such place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    pub path: Vec<u8>,
    /// All below belongs to it.
    pub directory: bool,
}

/// Whether `path` is `outer` or below it.
pub fn within(path: &[u8], outer: &[u8]) -> bool {
    let mut path = components(path);
    components(outer).all(|name| path.next() == Some(name))
}

#[derive(Clone, Debug)]
pub struct Secrets {
    /// Those whose place is known beforehand.
    known: Vec<Secret>,
    /// What the workspace keeps apart; all else in it is its own.
    projects: Option<Secret>,
    roots_home: bool,
}

impl Secrets {
    pub fn new(variables: &Variables) -> Secrets {
        use std::os::unix::ffi::OsStrExt;

        let value = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.as_os_str().as_bytes().to_vec());
        let (home, workspace) = (value(&variables.home), value(&variables.workspace));
        let own = |path: &Option<Vec<u8>>| path.as_ref().is_some_and(|path| within(path, ROOT_HOME.as_bytes()));
        // Whoever works in /root has no secrets there but the usual ones.
        let roots_home = own(&home) || own(&workspace);
        let secret = |path: &str, directory| Secret { path: path.as_bytes().to_vec(), directory };
        let mut known: Vec<Secret> = SYSTEM_FILES.iter().map(|path| secret(path, false)).collect();
        known.extend(SYSTEM_DIRECTORIES.iter().map(|path| secret(path, true)));
        if !roots_home {
            known.push(secret(ROOT_HOME, true));
        }
        let below =
            |place: &[u8], name: &str| [place.strip_suffix(b"/").unwrap_or(place), b"/", name.as_bytes()].concat();
        if let Some(place) = &home {
            known.extend(
                DIRECTORIES.iter().map(|names| Secret { path: below(place, &names.join("/")), directory: true }),
            );
            known.extend(FILES.iter().map(|name| Secret { path: below(place, name), directory: false }));
        }
        let projects = workspace.map(|place| Secret { path: below(&place, FILES[0]), directory: false });
        Secrets { known, projects, roots_home }
    }

    /// The secret that the path is, or lies in.
    pub fn of(&self, path: &[u8]) -> Option<Secret> {
        let named = |paths: &[&str], directory| {
            let found = paths.iter().find(|known| match directory {
                true => within(path, known.as_bytes()),
                false => path == known.as_bytes(),
            });
            found.map(|known| Secret { path: known.as_bytes().to_vec(), directory })
        };
        if let Some(secret) = named(&SYSTEM_FILES, false).or_else(|| named(&SYSTEM_DIRECTORIES, true)) {
            return Some(secret);
        }
        if !self.roots_home
            && let Some(secret) = named(&[ROOT_HOME], true)
        {
            return Some(secret);
        }
        let names: Vec<&[u8]> = components(path).collect();
        for start in 0..names.len() {
            for wanted in DIRECTORIES {
                let found = names[start..].iter().zip(wanted).filter(|(name, wanted)| **name == wanted.as_bytes());
                if found.count() == wanted.len() {
                    let path = joined(&names[..start + wanted.len()]);
                    return Some(Secret { path, directory: true });
                }
            }
        }
        let last = names.last()?;
        let is = FILES.iter().any(|name| *last == name.as_bytes());
        is.then(|| Secret { path: path.to_vec(), directory: false })
    }

    /// All whose place is known without having been seen.
    pub fn expected(&self) -> impl Iterator<Item = &Secret> {
        self.known.iter().chain(&self.projects)
    }

    /// Those that are known by their names, wherever they stand; for a language with wildcards.
    pub fn anywhere() -> [String; 2] {
        let directories: Vec<String> = DIRECTORIES.iter().map(|names| names.join("/")).collect();
        [format!("**/{{{}}}/**", directories.join(",")), format!("**/{{{}}}", FILES.join(","))]
    }

    /// Whether the path's name alone makes it one.
    pub fn by_name(&self, secret: &Secret) -> bool {
        let file = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
        match secret.directory {
            false => file(&secret.path).is_some_and(|last| FILES.iter().any(|name| last == name.as_bytes())),
            true => DIRECTORIES.iter().any(|names| secret.path.ends_with(format!("/{}", names.join("/")).as_bytes())),
        }
    }

    /// Whether a pattern over all below `path` would take one of the known ones in.
    pub fn any_below(&self, path: &[u8]) -> bool {
        self.known.iter().any(|secret| within(&secret.path, path))
    }
}

fn joined(names: &[&[u8]]) -> Vec<u8> {
    let mut path = Vec::new();
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}
