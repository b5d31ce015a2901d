//! The corpus of policies that figures and comparisons are made on: seeded, so that everybody has the same.

use std::fmt::Write as _;

/// xorshift64*: the same numbers everywhere, for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }

    pub fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const TOPS: [&str; 12] = [
    "/srv", "/opt", "/var/lib", "/usr/share", "/data", "/mnt/x", "/etc", "/root", "/var/log", "/usr/lib", "/work",
    "/tmp",
];
const MIDDLES: [&str; 8] = ["app", "site", "cache", "state", "conf.d", "keys", "build", "v1"];
const EXTENSIONS: [&str; 6] = ["pem", "env", "log", "so", "py", "db"];
const ACTIONS: [&str; 8] = [
    "file.delete", "file.write", "[file.read, dir.list]", "destructive", "[file.create, file.write]", "file.*",
    "proc.exec", "sensitive_write",
];

/// One glob of the mixture: 60 % a directory and all below it, 20 % below anyone's home, 15 % anywhere, 5 % with two
/// wildcards or an inner `**`. Each twenty that follow one another hold these shares, and ten hold them nearly: a small
/// policy is the same mixture as a large one.
pub fn glob(seed: u64, n: u64) -> String {
    let random = &mut Random::new(seed.wrapping_mul(1_000_003) + n);
    let share = (n * 9 + seed) % 20 * 5 + random.below(5);
    match share {
        0..60 => format!("{}/{}/{n}/**", random.one_of(&TOPS), random.one_of(&MIDDLES)),
        60..80 => format!("/home/*/{}{n}/**", random.one_of(&MIDDLES)),
        80..88 => format!("**/name{n}.{}", random.one_of(&EXTENSIONS)),
        88..95 => format!("**/name{n}/**"),
        95..98 => format!("{}/*/{n}-*/**", random.one_of(&TOPS)),
        _ => format!("{}/**/{}/d{n}/**", random.one_of(&TOPS), random.one_of(&MIDDLES)),
    }
}

/// A policy of `rules` rules, as text.
pub fn mixed(rules: u64, seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut text = String::from(
        "version: 1\nname: corpus\nmode: enforce\ndefault: allow\non_unknown: deny\nrules:\n  - id: SETS\n    watch: \
         file.read\n    path: /etc/secret/**\n    label: secret\n",
    );
    for n in 0..rules {
        let effect = ["deny", "deny", "allow", "challenge", "watch"][random.below(5) as usize];
        let actions = random.one_of(&ACTIONS);
        let _ = write!(text, "  - id: R{n}\n    {effect}: {actions}\n    path: \"{}\"\n", glob(seed, n));
        match random.below(6) {
            0 => text.push_str("    when: { risk: \">=60\" }\n"),
            1 => text.push_str("    when: { label: secret }\n"),
            2 => text.push_str("    when: { label: { not: secret }, risk: \"<80\" }\n"),
            3 if effect != "watch" => text.push_str("    mode: observe\n"),
            _ => {}
        }
    }
    text
}

/// Wildcards that overlap in as many ways as can be written: to be refused.
pub fn adversarial(rules: u64) -> String {
    let mut text = String::from("version: 1\nname: adversarial\nrules:\n");
    for n in 0..rules {
        let _ = write!(text, "  - id: R{n}\n    deny: file.read\n    path: \"**/*a{n}*b{n}*c*/c*/**\"\n");
    }
    text
}

/// A path in, or near, one of the globs of `mixed(rules, seed)`.
pub fn path(random: &mut Random, seed: u64, rules: u64) -> String {
    let glob = glob(seed, random.below(rules.max(1)));
    let mut path = String::new();
    for part in glob.split('/').filter(|part| !part.is_empty()) {
        match part {
            "**" => {
                for _ in 0..random.below(4) {
                    let _ = write!(path, "/{}", random.one_of(&MIDDLES));
                }
            }
            // Sometimes another name.
            _ if random.below(12) == 0 => path.push_str("/other"),
            part => {
                let _ = write!(path, "/{}", part.replace('*', random.one_of(&["", "x", "u17"])));
            }
        }
    }
    if path.is_empty() { "/".to_owned() } else { path.replace("//", "/u1/") }
}
