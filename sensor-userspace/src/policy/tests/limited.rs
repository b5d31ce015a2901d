//! `limit:`: within and beyond.

use sensor_common::action::Action;

use crate::attempt::Verdict;
use crate::policy::{Circumstances, Counted, Limit, Limits, Object, StepResult, Table, Tally, Variables, parse};

fn table(rules: &str) -> Table {
    let policy = parse("t.yaml", &format!("version: 1\nrules:\n{rules}")).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile(&Variables::default().or_stand_ins()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn limit(text: &str) -> Result<Limit, String> {
    let rule = format!("version: 1\nrules:\n  - id: A\n    deny: net.send\n    when: {{ limit: {text} }}\n");
    let policy = parse("t.yaml", &rule).map_err(|errors| errors.to_string())?;
    Ok(policy.rules[0].when.limit.unwrap())
}

#[test]
fn limits_are_read_whole() {
    let of = |text: &str| {
        let Limit { most, of, beyond, per } = limit(text).unwrap_or_else(|error| panic!("{error}"));
        (most, of, beyond, per.map(|per| per.as_secs()))
    };
    assert_eq!(of("{ within: 5 }"), (5, Counted::Attempts, false, None));
    assert_eq!(of("{ beyond: 20, per: 1m, of: attempts }"), (20, Counted::Attempts, true, Some(60)));
    assert_eq!(of("{ within: 10MiB, of: bytes, per: run }"), (10 << 20, Counted::Bytes, false, None));
    assert_eq!(of("{ within: 4096, of: objects, per: 8760h }"), (4096, Counted::Objects, false, Some(31_536_000)));
}

#[test]
fn unsound_limits_are_errors() {
    for (text, wanted) in [
        ("5", "`limit` cannot be `5`"),
        ("{}", "neither `within` nor `beyond`"),
        ("{ within: 1, beyond: 2 }", "both `within` and `beyond`"),
        ("{ within: 0 }", "a limit of 0 is no limit"),
        ("{ within: -1 }", "a limit cannot be"),
        ("{ within: 99999999999999999999 }", "write a number of attempts"),
        ("{ within: 1KiB }", "write a number of attempts"),
        ("{ within: 17179869184GiB, of: bytes }", "write a number of bytes"),
        ("{ within: 4097, of: objects }", "up to 4096"),
        ("{ within: 1, per: 1500ms }", "a window has whole seconds"),
        ("{ within: 1, per: 9000h }", "`per` cannot be"),
        ("{ within: 1, of: files }", "`of` cannot be"),
        ("{ whithin: 1 }", "did you mean `within`?"),
    ] {
        let error = limit(text).expect_err(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let bytes = "version: 1\nrules:\n  - id: A\n    deny: [net.send, net.connect]\n    when: { limit: { within: 1, of: bytes } }\n";
    let error = parse("t.yaml", bytes).unwrap_err().to_string();
    assert!(error.contains("t.yaml:3:5: error: [A] only of `net.send` it is known how many bytes"), "{error}");
    let many: String = (0..33)
        .map(|n| format!("  - id: R{n}\n    deny: net.send\n    when: {{ limit: {{ within: {} }} }}\n", n + 1))
        .collect();
    let policy = parse("t.yaml", &format!("version: 1\nrules:\n{many}")).unwrap();
    let error = policy.compile(&Variables::default()).unwrap_err().to_string();
    assert!(error.contains("[R32] more than 32 rules"), "{error}");
}

#[test]
fn what_holds_up_to_some_point_shadows_nothing() {
    let text = "version: 1\nrules:\n  - {id: FEW, allow: file.read, when: {limit: {within: 3}}}\n  - {id: NO_MORE, deny: file.read}\n";
    assert_eq!(parse("t.yaml", text).unwrap().warnings, []);
}

#[test]
fn attempts_count_where_the_search_comes_to_the_rule() {
    let table = table(
        "  - {id: TMP, allow: file.read, path: /tmp/**}\n  - {id: FEW, allow: file.read, when: {limit: {within: 2}}}\n  \
         - {id: MANY, watch: file.*, when: {limit: {beyond: 3}}, label: busy}\n  - {id: NO_MORE, deny: file.read}\n",
    );
    let mut tally = Tally::default();
    let mut read = |path: &str| {
        let how = Circumstances {
            limits: Limits::Counted { tally: &tally, seconds: 0, bytes: 0 },
            ..Circumstances::default()
        };
        let decision = table.judge(&[(Action::FileRead, Object::Path(path.as_bytes()))], &how);
        decision.counted.iter().for_each(|counted| tally.count(counted, 0, 0));
        (decision.rule_id, decision.watched.len())
    };
    let came = ["/tmp/a", "/a", "/tmp/b", "/b", "/tmp/c", "/c", "/d"].map(&mut read);
    let came: Vec<(&str, usize)> = came.iter().map(|(rule, watched)| (rule.as_str(), *watched)).collect();
    // The one that watches is come to each time; FEW only where TMP does not decide.
    let wanted = [("TMP", 0), ("FEW", 0), ("TMP", 0), ("FEW", 1), ("TMP", 1), ("NO_MORE", 1), ("NO_MORE", 1)];
    assert_eq!(came, wanted);
}

#[test]
fn explain_tells_of_the_limit() {
    let table = table(
        "  - {id: FEW, allow: file.read, path: /a/**, when: {limit: {within: 2, of: objects, per: 90s}}}\n  - {id: NO_MORE, deny: file.read}\n",
    );
    let attempt = [(Action::FileRead, Object::Path(b"/a/b"))];
    let (decision, _) = table.explain(&attempt, &Circumstances::default());
    assert_eq!(decision.reason, "file.read of /a/b: FEW allows inside /a/**, within 2 objects per 90s");
    let exceeded = Circumstances { limits: Limits::Given(1), ..Circumstances::default() };
    let (decision, steps) = table.explain(&attempt, &exceeded);
    assert_eq!((decision.verdict, decision.rule_id.as_str()), (Verdict::Deny, "NO_MORE"));
    assert_eq!(
        steps.iter().map(|step| step.result).collect::<Vec<_>>(),
        [StepResult::OtherSideOfLimit, StepResult::Decides]
    );
    assert_eq!(table.objects_text(0), "inside /a/**, within 2 objects per 90s");
}
