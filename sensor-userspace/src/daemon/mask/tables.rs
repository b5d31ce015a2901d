//! What secrets are called, how they look, and which options of which tools take them.

/// Last words of a name whose value is a secret, `DB_PASSWORD`, `--auth-token`, `apiToken`.
pub const SECRET_WORDS: &[&str] = &[
    "pass", "passcode", "passphrase", "credential", "credentials", "authorization", "auth", "bearer", "cookie", "jwt",
    "sas", "dsn", "sig", "signature",
];

/// A last word that ends so is one as well: `PGPASSWORD`, `authtoken`.
pub const SECRET_ENDINGS: &[&str] =
    &["password", "passwd", "secret", "secrets", "token", "apikey", "accesskey", "secretkey", "privatekey"];

/// `NAME_KEY` is a secret, except after these.
pub const OPEN_KEYS: &[&str] = &[
    "public", "pub", "sort", "primary", "foreign", "partition", "cache", "routing", "object", "host", "group",
    "registry", "merge",
];

/// Headers whose names end in no such word.
pub const SECRET_HEADERS: &[&str] = &["x-api-key", "api-key", "x-functions-key", "ocp-apim-subscription-key"];

/// Tokens that say themselves what they are: how they begin, and how much follows at least.
pub const TOKENS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxa-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("sk-ant-", 6),
    ("sk-proj-", 6),
    ("sk-", 20),
    ("sk_live_", 10),
    ("rk_live_", 10),
    ("hf_", 20),
    ("npm_", 30),
    ("pypi-", 30),
    ("dop_v1_", 30),
    ("hvs.", 20),
    ("eyJ", 40),
    ("ya29.", 20),
    ("SG.", 30),
];

/// A short option of a known tool whose value is a secret.
pub struct Tool {
    pub names: &'static [&'static str],
    pub option: &'static str,
    /// The value may stand in the same word.
    pub attached: bool,
    /// The value may stand in the next word.
    pub separate: bool,
    /// Only with this subcommand.
    pub with: Option<&'static str>,
}

const fn tool(names: &'static [&'static str], option: &'static str, attached: bool, separate: bool) -> Tool {
    Tool { names, option, attached, separate, with: None }
}

pub const TOOLS: &[Tool] = &[
    tool(
        &[
            "mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mariadb", "mariadb-dump",
            "mariadb-admin",
        ],
        "-p",
        true,
        false,
    ),
    tool(&["sshpass"], "-p", true, true),
    tool(&["curl"], "-u", true, true),
    tool(&["curl"], "-U", true, true),
    tool(&["curl"], "--user", false, true),
    tool(&["curl"], "--proxy-user", false, true),
    tool(&["curl"], "-b", false, true),
    tool(&["redis-cli"], "-a", false, true),
    tool(&["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"], "-p", false, true),
    tool(&["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldappasswd", "ldapwhoami"], "-w", true, true),
    tool(&["zip", "unzip"], "-P", true, true),
    tool(&["7z", "7za", "7zr", "7zz", "rar", "unrar"], "-p", true, false),
    tool(&["smbclient", "rpcclient", "net"], "-U", true, true),
    tool(&["openssl"], "-passin", false, true),
    tool(&["openssl"], "-passout", false, true),
    tool(&["openssl"], "-pass", false, true),
    tool(&["openssl"], "-k", false, true),
    tool(&["xfreerdp", "wfreerdp"], "/p:", true, false),
    Tool {
        names: &["docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "az", "oc"],
        option: "-p",
        attached: true,
        separate: true,
        with: Some("login"),
    },
];
