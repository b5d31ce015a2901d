//! How values look on a terminal.

use std::io::IsTerminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    Plain,
    Dim,
    Red,
    Yellow,
    Green,
    Bold,
}

/// Colours, where standard output is a terminal that wants them.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    pub fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Paint { on: wanted && std::io::stdout().is_terminal() }
    }

    #[cfg(test)]
    pub fn none() -> Paint {
        Paint { on: false }
    }

    pub fn paint(self, hue: Hue, text: &str) -> String {
        let code = match hue {
            Hue::Plain => return text.to_owned(),
            Hue::Dim => "2",
            Hue::Red => "1;31",
            Hue::Yellow => "33",
            Hue::Green => "32",
            Hue::Bold => "1",
        };
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

pub fn verdict_hue(verdict: &str) -> Hue {
    match verdict {
        "ALLOW" => Hue::Green,
        "DENY" => Hue::Red,
        "CHALLENGE" => Hue::Yellow,
        _ => Hue::Plain,
    }
}

pub fn risk_hue(risk: u64) -> Hue {
    match risk {
        85.. => Hue::Red,
        60..85 => Hue::Yellow,
        _ => Hue::Plain,
    }
}

/// A value of a record as a person reads it: percent-encoding undone, but whatever could move a terminal's
/// cursor stays visible and harmless.
pub fn readable(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                // Also the marks that turn the direction of writing around.
                c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Cut in the middle to `width` characters: both ends of a path tell something.
pub fn fit(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    let (head, tail) = (keep / 3, keep - keep / 3);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// Columns of the terminal; none where there is no terminal.
pub fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    // SAFETY: an all-zero winsize is valid, and the call writes into it alone.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(1, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    };
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        for (given, expected) in [
            ("/tmp/a%20b", "/tmp/a b"),
            ("/x%0Ay%1B%5B2J", "/x\\ny\\u{1b}[2J"),
            ("%C3%A9%FF", "é\\xff"),
            ("%E2%80%AE", "\\u{202e}"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%7F", "\\u{7f}"),
        ] {
            assert_eq!(readable(given), expected);
        }
        assert_eq!(fit("/a/very/long/path/name", 10), "/a/…h/name");
    }
}
