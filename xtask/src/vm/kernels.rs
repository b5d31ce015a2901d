//! Debian's stock kernels: found by the pattern of their packages' names, fetched once with apt's
//! own tools from the mirrors that this machine already uses, kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::modules;
use crate::{command, paths};

/// Where one kernel of the matrix comes from.
pub struct Source {
    pub name: &'static str,
    /// Tried in order; a suite that ends in `-security` is on the security mirror.
    suites: &'static [&'static str],
    /// Package names are `PREFIX…-cloud-amd64`, with a digit after the prefix.
    prefixes: &'static [&'static str],
}

pub const MATRIX: [Source; 4] = [
    Source { name: "5.10", suites: &["bullseye"], prefixes: &["linux-image-5.10.0-"] },
    Source { name: "6.1", suites: &["bookworm-security", "bookworm"], prefixes: &["linux-image-6.1.0-"] },
    Source {
        name: "6.12",
        suites: &["bookworm-security", "bookworm-backports", "trixie"],
        prefixes: &["linux-image-6.12."],
    },
    // From 7.x on the image is in linux-binary; linux-image only depends on it.
    Source { name: "7.2", suites: &["sid", "forky"], prefixes: &["linux-binary-", "linux-image-"] },
];
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that cannot be had here; for unstable that is no failure but a skip.
#[derive(Debug)]
pub struct Unavailable {
    pub kernel: String,
    pub reason: String,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kernel {} cannot be had: {}", self.kernel, self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// The image of a kernel by its name in the matrix (`unstable` is the newest of them).
pub fn image(name: &str) -> Result<PathBuf> {
    let wanted = if matches!(name, "unstable" | "sid" | "latest") { "7.2" } else { name };
    let Some(source) = MATRIX.iter().find(|source| source.name == wanted) else {
        bail!("--kernel {name}: not in the matrix; one of {}, unstable", MATRIX.map(|source| source.name).join(", "));
    };
    let dir = paths::cache()?.join("kernels").join(source.name);
    let image = dir.join("vmlinuz");
    let whole = || image.exists() && modules::are_kept(&modules::of(&image));
    if whole() {
        return Ok(image);
    }
    let _lock = paths::lock("kernels")?;
    if whole() {
        return Ok(image);
    }
    fetch(source, &dir).map_err(|error| Unavailable { kernel: source.name.into(), reason: format!("{error:#}") })?;
    Ok(image)
}

fn fetch(source: &Source, dir: &Path) -> Result<()> {
    let mirrors = Mirrors::of_this_machine()?;
    let mut causes = Vec::new();
    for suite in source.suites {
        match fetch_from(source, suite, &mirrors, dir) {
            Ok(()) => return Ok(()),
            Err(error) => causes.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("{}", causes.join("; "))
}

fn fetch_from(source: &Source, suite: &str, mirrors: &Mirrors, dir: &Path) -> Result<()> {
    let apt = Apt::new(suite, mirrors)?;
    command::quiet(&format!("kernel {}: package lists of {suite}", source.name), apt.command("apt-get").arg("update"))?;
    let mut package = None;
    for prefix in source.prefixes {
        let names = command::output(apt.command("apt-cache").args(["pkgnames", prefix])).unwrap_or_default();
        package = newest(&names, prefix);
        if package.is_some() {
            break;
        }
    }
    let package = package.with_context(|| format!("no package {}*{FLAVOUR}", source.prefixes.join(" or ")))?;
    let mut packages = vec![package.clone()];
    // linux-binary holds the image alone.
    packages.extend(package.strip_prefix("linux-binary-").map(|rest| format!("linux-modules-{rest}")));

    let staging = dir.with_extension("new");
    let _ = std::fs::remove_dir_all(&staging);
    std::fs::create_dir_all(&staging).with_context(|| staging.display().to_string())?;
    command::quiet(
        &format!("kernel {}: fetching {}", source.name, packages.join(", ")),
        apt.command("apt-get").arg("download").args(&packages).current_dir(&staging),
    )?;
    let debs: Vec<PathBuf> = std::fs::read_dir(&staging)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .collect();
    if debs.len() != packages.len() {
        bail!("{}: apt-get download left {} files", packages.join(", "), debs.len());
    }
    let tree = staging.join("tree");
    for deb in &debs {
        command::quiet(
            &format!("kernel {}: unpacking", source.name),
            Command::new("dpkg").arg("-x").arg(deb).arg(&tree),
        )?;
    }
    let image = find_image(&tree).with_context(|| format!("{package}: holds no vmlinuz"))?;
    std::fs::rename(&image, staging.join("vmlinuz"))?;
    modules::keep(&tree, &modules::of(&staging.join("vmlinuz"))).with_context(|| packages.join(", "))?;
    std::fs::write(staging.join("package"), format!("{package}\n"))?;
    std::fs::remove_dir_all(&tree)?;
    for deb in &debs {
        std::fs::remove_file(deb)?;
    }
    // The directory appears complete or not at all.
    let _ = std::fs::remove_dir_all(dir);
    std::fs::rename(&staging, dir).with_context(|| dir.display().to_string())?;
    Ok(())
}

/// The newest of the packages `PREFIX<digit>…-cloud-amd64`: numbers in the name compare as numbers.
fn newest(names: &str, prefix: &str) -> Option<String> {
    names
        .lines()
        .filter(|name| name.ends_with(FLAVOUR))
        .filter(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
        .max_by_key(|name| numbers(name))
        .map(str::to_owned)
}

fn numbers(name: &str) -> Vec<u64> {
    let version = name.strip_suffix(FLAVOUR).unwrap_or(name);
    // `+deb13` names the release that it was built for, not the kernel's version.
    let version = version.split('+').next().unwrap_or(version);
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn find_image(tree: &Path) -> Option<PathBuf> {
    let mut dirs = vec![tree.join("boot"), tree.join("usr/lib/modules"), tree.join("lib/modules")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_file() && (name == "vmlinuz" || name.starts_with("vmlinuz-")) {
                return Some(path);
            }
            // Two levels are enough; the trees of modules need not be searched.
            if path.is_dir() && dir.ends_with("modules") {
                dirs.push(path);
            }
        }
    }
    None
}

/// Debian's mirrors as this machine's apt knows them.
struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Mirrors {
    fn of_this_machine() -> Result<Self> {
        let list = command::output(
            Command::new("apt-get")
                .args(["indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]),
        )
        .context("apt-get indextargets failed: Debian's kernels are fetched with apt")?;
        let targets: Vec<(&str, &str)> = list
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let target = (words.next()?, words.next()?);
                (words.next()? == "main").then_some(target)
            })
            .collect();
        let codename = ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];
        let main =
            targets.iter().find(|(_, suite)| codename.contains(suite)).map(|(uri, _)| (*uri).to_owned()).context(
                "no Debian mirror among apt's sources (`apt-get indextargets` shows them): add one for Debian main",
            )?;
        let security = targets.iter().find(|(_, suite)| suite.ends_with("-security")).map(|(uri, _)| (*uri).to_owned());
        Ok(Self { main, security })
    }
}

/// apt with its own sources, lists and cache, so that the machine's stay as they are.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, mirrors: &Mirrors) -> Result<Self> {
        let uri = if suite.ends_with("-security") {
            mirrors.security.as_ref().context("apt's sources name no security mirror")?
        } else {
            &mirrors.main
        };
        let dir = paths::cache()?.join("apt").join(suite);
        std::fs::create_dir_all(dir.join("lists/partial"))?;
        std::fs::create_dir_all(dir.join("cache/archives/partial"))?;
        let dir = dir.canonicalize()?;
        let list = dir.join("sources.list");
        std::fs::write(&list, format!("deb [arch=amd64] {uri} {suite} main\n"))
            .with_context(|| list.display().to_string())?;
        let options = [
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            format!("Dir::State::lists={}", dir.join("lists").display()),
            format!("Dir::Cache={}", dir.join("cache").display()),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            // A suite that is no longer updated has an old date; the packages' hashes still hold.
            "Acquire::Check-Valid-Until=false".into(),
            // An update that got nothing is a failure, not a warning.
            "APT::Update::Error-Mode=any".into(),
            // The cache may lie where apt's own user cannot write.
            "APT::Sandbox::User=root".into(),
        ];
        Ok(Self { options: options.into() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn newest_compares_numbers_and_leaves_other_flavours_out() {
        let names = "linux-image-6.12.9+deb12-cloud-amd64\nlinux-image-6.12.117+deb12-cloud-amd64\n\
                     linux-image-6.12.118+deb12-cloud-amd64-unsigned\nlinux-image-6.12.118+deb12-amd64\nlinux-image-6.12.200+deb12-cloud-amd64-dbg\n";
        assert_eq!(newest(names, "linux-image-6.12.").as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("linux-image-cloud-amd64\n", "linux-image-"), None);
    }
}
