use super::argv;

fn masked(line: &[&str]) -> Vec<String> {
    let mut args: Vec<Vec<u8>> = line.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    argv(&mut args);
    args.into_iter().map(|arg| String::from_utf8(arg).unwrap()).collect()
}

#[test]
fn secrets_are_masked() {
    let table: &[(&[&str], &[&str])] = &[
        (&["x", "--password=hunter2"], &["x", "--password=***"]),
        (&["x", "--password=two words"], &["x", "--password=***"]),
        (&["x", "--token", "abc"], &["x", "--token", "***"]),
        (&["x", "--db-passwd", "abc", "y"], &["x", "--db-passwd", "***", "y"]),
        (&["x", "--client-secret=a=b"], &["x", "--client-secret=***"]),
        (&["x", "--api-key", "k"], &["x", "--api-key", "***"]),
        (&["mysql", "-psecret", "-u", "root"], &["mysql", "-p***", "-u", "root"]),
        (&["sudo", "/usr/bin/mysqldump", "-psecret"], &["sudo", "/usr/bin/mysqldump", "-p***"]),
        (&["sshpass", "-p", "x", "ssh", "h"], &["sshpass", "-p", "***", "ssh", "h"]),
        (&["curl", "-u", "me:pw", "http://h"], &["curl", "-u", "***", "http://h"]),
        (&["curl", "-fsSLu", "me:pw", "http://h"], &["curl", "-fsSLu", "***", "http://h"]),
        (&["ldapsearch", "-xw", "pw", "-b", "dc=x"], &["ldapsearch", "-xw", "***", "-b", "dc=x"]),
        (&["x", "Server=h;Uid=sa;Pwd=abc;App=y"], &["x", "Server=h;Uid=sa;Pwd=***;App=y"]),
        (&["curl", "https://h/b?se=1&sig=a%2Fb&sp=r"], &["curl", "https://h/b?se=1&sig=***&sp=r"]),
        (&["curl", "https://h/o?X-Amz-Signature=ab12"], &["curl", "https://h/o?X-Amz-Signature=***"]),
        (&["x", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAB=="], &["x", "-----BEGIN RSA PRIVATE KEY-----***"]),
        (&["docker", "login", "-p", "x"], &["docker", "login", "-p", "***"]),
        (&["curl", "-H", "Authorization: Bearer abc.def"], &["curl", "-H", "Authorization: ***"]),
        (&["curl", "-H", "authorization: Basic dTpw"], &["curl", "-H", "authorization: ***"]),
        (&["curl", "-H", "X-Api-Key: abc"], &["curl", "-H", "X-Api-Key: ***"]),
        (&["curl", "https://me:pw@h/p?q"], &["curl", "https://me:***@h/p?q"]),
        (&["git", "clone", "https://u:p@ss@h/r"], &["git", "clone", "https://u:***@h/r"]),
        (&["curl", "https://h/p?access_token=abc&x=1"], &["curl", "https://h/p?access_token=***&x=1"]),
        (&["env", "AWS_SECRET_ACCESS_KEY=abc/d+e", "x"], &["env", "AWS_SECRET_ACCESS_KEY=***", "x"]),
        (&["env", "KEY=abc"], &["env", "KEY=***"]),
        (&["env", "PGPASSWORD=a b"], &["env", "PGPASSWORD=***"]),
        (&["env", "OPENAI_API_KEY=abc"], &["env", "OPENAI_API_KEY=***"]),
        (&["echo", "AKIAIOSFODNN7EXAMPLE"], &["echo", "***"]),
        (&["echo", "x sk-ant-REDACTED y"], &["echo", "x *** y"]),
        (&["sh", "-c", "TOKEN=abc run --it"], &["sh", "-c", "TOKEN=*** run --it"]),
        (&["sh", "-c", "curl -H 'Authorization: Bearer abc' h"], &["sh", "-c", "curl -H 'Authorization: ***' h"]),
        (&["sh", "-c", "x; mysql -psecret db | y"], &["sh", "-c", "x; mysql -p*** db | y"]),
        (&["bash", "-lc", "x --password abc --y"], &["bash", "-lc", "x --password *** --y"]),
        (&["curl", "-d", "{\"password\": \"abc\", \"x\": 1}"], &["curl", "-d", "{\"password\": \"***\", \"x\": 1}"]),
        (&["curl", "-d", "{\"apiToken\":\"abc\"}"], &["curl", "-d", "{\"apiToken\":\"***\"}"]),
        (&["x", "send bearer abc now"], &["x", "send bearer *** now"]),
    ];
    for (given, expected) in table {
        assert_eq!(&masked(given), expected, "{given:?}");
    }
}

#[test]
fn the_rest_stays_readable() {
    let table: &[&[&str]] = &[
        &["ls", "-p", "/tmp"],
        &["docker", "run", "-p", "80:80", "x"],
        &["llm", "--max-tokens=100", "--tokenizer=x"],
        &["x", "--password-file=/p", "--token-file", "/t"],
        &["sort", "--key=2", "-k", "1"],
        &["env", "PWD=/x", "OLDPWD=/y", "x"],
        &["x", "--public-key=abc"],
        &["curl", "https://h:80/p@q"],
        &["git", "clone", "https://git@h/r"],
        &["cat", "/home/u/token", "secrets/x"],
        &["x", "--password", "--other"],
        &["cc", "-c", "a.c", "-o", "a.o"],
        &["docker", "pull", "vault-secret:1.2"],
    ];
    for given in table {
        assert_eq!(&masked(given), given);
    }
}

#[test]
fn any_bytes_are_fine() {
    let mut args = vec![vec![0xff, b'=', 0xfe], Vec::new(), b"--token=".to_vec(), b"=\xff".to_vec()];
    let before = args.clone();
    argv(&mut args);
    assert_eq!(args, before);
}
