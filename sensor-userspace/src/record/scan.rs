//! Reads canonical bytes, and nothing else: whatever deviates by one byte is refused.

use super::canonical::{MAX_INTEGER, is_plain};

/// Why bytes are not canonical, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCanonical {
    pub at: usize,
    pub what: &'static str,
}

type Result<T> = std::result::Result<T, NotCanonical>;

/// Deeper nesting is refused: no record has it, and the scanner recurses.
const MAX_DEPTH: usize = 16;

pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Scanner<'a> {
        Scanner { bytes, at: 0, depth: 0 }
    }

    fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(NotCanonical { at: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.peek() != Some(byte) {
            return self.fail(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<()> {
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("bytes after the value") }
    }

    /// A string's inside, still encoded.
    pub fn string(&mut self) -> Result<&'a [u8]> {
        self.expect(b'"', "a string was expected")?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(stop) = rest.iter().position(|&byte| !is_plain(byte)) else {
                return self.fail("a string does not end");
            };
            self.at += stop;
            match rest[stop] {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                b'%' => self.escape()?,
                _ => return self.fail("a byte that must be percent-encoded"),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let nibble = |byte: Option<&u8>| match byte {
            Some(digit @ b'0'..=b'9') => Some(digit - b'0'),
            Some(digit @ b'A'..=b'F') => Some(digit - b'A' + 10),
            _ => None,
        };
        let high = nibble(self.bytes.get(self.at + 1));
        let low = nibble(self.bytes.get(self.at + 2));
        match high.zip(low) {
            Some((high, low)) if !is_plain(high << 4 | low) => {
                self.at += 3;
                Ok(())
            }
            _ => self.fail("a percent-encoding that is not canonical"),
        }
    }

    fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        let mut value: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let count = self.at - first;
        let zero_first = self.bytes.get(first) == Some(&b'0');
        if count == 0 || value > MAX_INTEGER || (zero_first && (count > 1 || first > start)) {
            self.at = start;
            return self.fail("a number that is not canonical");
        }
        Ok(&self.bytes[start..self.at])
    }

    /// Calls `each` for every key, with the scanner standing at its value, which `each` must take.
    pub fn object(&mut self, mut each: impl FnMut(&'a [u8], &mut Scanner<'a>) -> Result<()>) -> Result<()> {
        self.expect(b'{', "an object was expected")?;
        self.enter()?;
        let mut last: Option<&[u8]> = None;
        if self.peek() != Some(b'}') {
            loop {
                let key = self.string()?;
                if last.is_some_and(|last| last >= key) {
                    return self.fail("keys out of order");
                }
                last = Some(key);
                self.expect(b':', "a colon was expected")?;
                each(key, self)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.expect(b'}', "an object does not end")
    }

    /// Calls `each` with the scanner standing at every element, which `each` must take.
    pub fn array(&mut self, mut each: impl FnMut(&mut Scanner<'a>) -> Result<()>) -> Result<()> {
        self.expect(b'[', "an array was expected")?;
        self.enter()?;
        if self.peek() != Some(b']') {
            loop {
                each(self)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.expect(b']', "an array does not end")
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.fail("nested too deeply") } else { Ok(()) }
    }

    /// Any value; its bytes.
    pub fn value(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => drop(self.string()?),
            Some(b'{') => self.object(|_, scanner| scanner.value().map(drop))?,
            Some(b'[') => self.array(|scanner| scanner.value().map(drop))?,
            Some(b'-' | b'0'..=b'9') => drop(self.number()?),
            _ => {
                let rest = &self.bytes[self.at..];
                match [b"true".as_slice(), b"false"].iter().find(|word| rest.starts_with(word)) {
                    Some(word) => self.at += word.len(),
                    None => return self.fail("a value was expected"),
                }
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    /// A number that fits `u64` and is no string.
    pub fn uint(&mut self) -> Result<u64> {
        let start = self.at;
        let text = self.value()?;
        match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
            Some(number) => Ok(number),
            None => Err(NotCanonical { at: start, what: "a natural number was expected" }),
        }
    }
}
