//! Canonical bytes: the one spelling of a value that every language can reproduce.
//!
//! Objects have sorted keys and no white space, numbers are integers, and strings are printable
//! ASCII with everything else percent-encoded, so no JSON escape ever occurs.

/// The largest integer that every JSON reader keeps exactly: 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte <= 0x7e {
        plain[byte] = !matches!(byte as u8, b'%' | b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    plain
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Whether this byte stands for itself in a canonical string.
pub const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

/// Appends the canonical form of `text`, without quotes.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(stop) = rest.iter().position(|&byte| !is_plain(byte)) {
        let byte = rest[stop];
        out.extend_from_slice(&rest[..stop]);
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[stop + 1..];
    }
    out.extend_from_slice(rest);
}

/// The canonical form in quotes.
pub fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    string(text, &mut out);
    out
}

/// Appends a string value.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    encode(text, out);
    out.push(b'"');
}

/// The bytes that a canonical string stands for; what is not canonical stands for itself.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let nibble = |byte: u8| HEX.iter().position(|&digit| digit == byte).map(|at| at as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair = match (text[at], text.get(at + 1), text.get(at + 2)) {
            (b'%', Some(&high), Some(&low)) => nibble(high).zip(nibble(low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// Appends the decimal digits of `number`.
pub fn digits(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Appends an integer; beyond ±(2^53 − 1) as a decimal string.
pub fn integer(negative: bool, magnitude: u64, out: &mut Vec<u8>) {
    let wide = magnitude > MAX_INTEGER;
    if wide {
        out.push(b'"');
    }
    if negative && magnitude != 0 {
        out.push(b'-');
    }
    digits(magnitude, out);
    if wide {
        out.push(b'"');
    }
}

/// An object being written. Keys must come in byte order: debug builds insist on it.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Where the last key stands in `out`.
    last: (usize, usize),
}

impl<'a> Object<'a> {
    /// Writes one whole object.
    pub fn write(out: &'a mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        out.push(b'{');
        let start = out.len();
        let mut object = Object { out, start, last: (start, start) };
        fill(&mut object);
        object.out.push(b'}');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        let first = self.out.len() == self.start;
        debug_assert!(
            first || &self.out[self.last.0..self.last.1] < key.as_bytes(),
            "key {key:?} does not sort after the one before it"
        );
        debug_assert!(key.bytes().all(is_plain), "key {key:?} is not plain");
        if !first {
            self.out.push(b',');
        }
        self.out.push(b'"');
        let at = self.out.len();
        self.out.extend_from_slice(key.as_bytes());
        self.last = (at, self.out.len());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub fn str(&mut self, key: &str, value: impl AsRef<[u8]>) {
        string(value.as_ref(), self.key(key));
    }

    /// A value already in canonical bytes.
    pub fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key).extend_from_slice(value);
    }

    /// A string known to need no encoding: names, times, hex digits.
    pub fn plain(&mut self, key: &str, value: &[u8]) {
        debug_assert!(value.iter().copied().all(is_plain), "{key:?} is not plain");
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
    }

    pub fn uint(&mut self, key: &str, value: u64) {
        integer(false, value, self.key(key));
    }

    pub fn int(&mut self, key: &str, value: i64) {
        integer(value < 0, value.unsigned_abs(), self.key(key));
    }

    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An array whose elements stand in `inside` in canonical bytes, joined by commas.
    pub fn array_of(&mut self, key: &str, inside: &[u8]) {
        let out = self.key(key);
        out.push(b'[');
        out.extend_from_slice(inside);
        out.push(b']');
    }

    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.key(key), fill);
    }

    pub fn strings<T: AsRef<[u8]>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let out = self.key(key);
        out.push(b'[');
        for (n, value) in values.into_iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            string(value.as_ref(), out);
        }
        out.push(b']');
    }
}
