//! What a name server answers, as the kernel side reads it, against a reader that is plain and knows no verifier: any
//! bytes at all, by the kernel's own test-run facility.

use std::collections::BTreeSet;

use rgt::kernel::trial::{DISTANT, SERVER, SERVER_6, Trial};
use rgt::policy::{self, Variables};

mod support;
use support::Random;

const POLICY: &str = r#"
version: 1
name: answers
rules:
  - { id: ONE, allow: net.connect, to: ["api.example.com", "a", "long-label-of-a-name.with-more.and_more.example"] }
"#;
const NAMES: [&str; 6] =
    ["api.example.com", "API.Example.COM", "a", "long-label-of-a-name.with-more.and_more.example", "example.com", "b"];

/// A name as messages have it.
fn written(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn message(random: &mut Random) -> Vec<u8> {
    let name = NAMES[random.below(NAMES.len() as u64) as usize];
    let answers = random.below(5) as u8;
    let mut bytes = vec![1, 2, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 1];
    bytes.extend(written(name));
    bytes.extend([0, 1, 0, 1]);
    // One more than there are answers: it is none.
    for number in 0..=answers {
        match random.below(3) {
            0 => bytes.extend(written("cdn.example.net")),
            1 => bytes.extend([3, b'c', b'd', b'n', 0xc0, 12]),
            _ => bytes.extend([0xc0, 12]),
        }
        let (kind, body): (u8, Vec<u8>) = match random.below(5) {
            0 => (5, written("cdn.example.net")),
            1 => (28, [&[0x20, 1, 0xd, 0xb8][..], &[number; 12]].concat()),
            2 => (16, vec![random.below(256) as u8; random.below(40) as usize]),
            _ => (1, vec![192, 0, 2, number]),
        };
        bytes.extend([0, kind, 0, 1, 0, 0, 0, 60, 0, body.len() as u8]);
        bytes.extend(body);
    }
    bytes
}

/// The name that was asked for, and the addresses that answer.
fn plainly(message: &[u8]) -> Option<(String, BTreeSet<[u8; 16]>)> {
    let field = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if field(2)? & 0xf80f != 0x8000 || field(4)? != 1 {
        return None;
    }
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        match len {
            0 => break,
            1..=63 => labels.push(String::from_utf8_lossy(message.get(at..at + len)?).to_ascii_lowercase()),
            _ => return None,
        }
        at += len;
    }
    at += 4;
    let mut addresses = BTreeSet::new();
    let mut left = field(6)?;
    let mut record = || -> Option<()> {
        loop {
            let len = usize::from(*message.get(at)?);
            at += 1;
            match len {
                0 => break,
                1..=63 => at += len,
                192.. => {
                    at += 1;
                    break;
                }
                _ => return None,
            }
        }
        let (kind, class, len) = (field(at)?, field(at + 2)?, usize::from(field(at + 8)?));
        let body = message.get(at + 10..at + 10 + len)?;
        at += 10 + len;
        match (kind, class, body.len()) {
            (1, 1, 4) => drop(addresses.insert(policy::octets(<[u8; 4]>::try_from(body).ok()?.into()))),
            (28, 1, 16) => drop(addresses.insert(body.try_into().ok()?)),
            _ => {}
        }
        Some(())
    };
    while left > 0 && record().is_some() {
        left -= 1;
    }
    Some((labels.join("."), addresses))
}

/// As it comes from a server, by Ethernet.
fn packet(from: [u8; 4], port: u16, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend((28 + message.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    bytes.extend(from);
    bytes.extend([192, 0, 2, 1]);
    bytes.extend(port.to_be_bytes());
    bytes.extend([0x80, 0]);
    bytes.extend((8 + message.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(message);
    bytes
}

/// The same, by IPv6.
fn packet_6(from: [u8; 16], next: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    bytes.extend((8 + message.len() as u16).to_be_bytes());
    bytes.extend([next, 64]);
    bytes.extend(from);
    bytes.extend([0; 15]);
    bytes.extend([1, 0, 53, 0x80, 0]);
    bytes.extend((8 + message.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(message);
    bytes
}

#[test]
fn answers_are_read_as_plainly_as_they_are_written() {
    let mut random = Random::seeded();
    let mut trial =
        Trial::new(random.next()).unwrap_or_else(|error| panic!("{error}: this test wants root and the kernel side"));
    let policy = policy::parse("answers.yaml", POLICY).unwrap();
    let known = policy.host_names();
    trial.judge_by(&policy.compile(&Variables::default()).unwrap()).unwrap();
    let (mut believed, mut broken) = (0, 0);
    for round in 0..if std::env::var_os("RGT_FULL").is_some() { 200_000 } else { 4_000 } {
        let mut message = message(&mut random);
        if round % 2 == 1 {
            for _ in 0..=random.below(3) {
                let at = random.below(message.len() as u64) as usize;
                message[at] = random.next() as u8;
            }
            message.truncate(random.below(3 * message.len() as u64).max(13) as usize);
        }
        trial.receive(&packet(SERVER.octets(), 53, &message)).unwrap();
        let read = plainly(&message);
        broken += u32::from(read.is_none());
        let (name, addresses) = read.filter(|(name, _)| known.contains(name.as_str())).unwrap_or_default();
        assert_eq!(trial.given(), addresses.len(), "{message:?}");
        for address in &addresses {
            assert!(trial.was_given(*address, &name), "{name} {address:?}: {message:?}");
            believed += 1;
        }
    }
    println!("{believed} addresses believed, {broken} messages that are none");
    assert!(believed > 500 && broken > 50);
}

#[test]
fn nobody_else_is_believed() {
    let mut trial = Trial::new(1).unwrap_or_else(|error| panic!("{error}: this test wants root and the kernel side"));
    let policy = policy::parse("answers.yaml", POLICY).unwrap();
    trial.judge_by(&policy.compile(&Variables::default()).unwrap()).unwrap();
    let mut message = vec![1, 2, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend(written("a"));
    message.extend([0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
    let mut given = |packet: &[u8]| {
        trial.receive(packet).unwrap();
        trial.given()
    };
    let right = packet(SERVER.octets(), 53, &message);
    assert_eq!(given(&right), 1);
    assert_eq!(given(&packet([127, 0, 0, 54], 53, &message)), 0, "another server");
    assert_eq!(given(&packet(DISTANT.octets(), 53, &message)), 0, "from afar, by the loopback");
    assert_eq!(given(&packet(SERVER.octets(), 54, &message)), 0, "another port");
    assert_eq!(given(&packet_6(SERVER_6.octets(), 17, &message)), 1, "by IPv6");
    assert_eq!(given(&packet_6([0x20; 16], 17, &message)), 0, "another server by IPv6");
    assert_eq!(given(&packet_6(SERVER_6.octets(), 44, &message)), 0, "a piece by IPv6");
    // A query, one that failed, two questions.
    for (at, byte) in [(2, 1), (3, 0x83), (5, 2)] {
        let mut other = message.clone();
        other[at] = byte;
        assert_eq!(given(&packet(SERVER.octets(), 53, &other)), 0, "byte {at}");
    }
    // To another machine, a piece, TCP, options before what is read.
    for (at, byte) in [(0, 2), (20, 0x20), (21, 1), (23, 6), (14, 0x46)] {
        let mut other = right.clone();
        other[at] = byte;
        assert_eq!(given(&other), 0, "byte {at}");
    }
}
