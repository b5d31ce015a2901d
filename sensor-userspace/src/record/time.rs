//! RFC 3339 with nanoseconds, always UTC, always 30 bytes.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::attempt::WallNs;

pub type TimeText = [u8; 30];

const SECOND: u64 = 1_000_000_000;

pub fn now() -> WallNs {
    // A clock before 1970 is a clock that was never set: the epoch says so plainly.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Formats times; the calendar is only worked out when the second changes.
pub struct Clock {
    second: u64,
    text: TimeText,
}

impl Default for Clock {
    fn default() -> Self {
        let mut clock = Clock { second: 0, text: *b"0000-00-00T00:00:00.000000000Z" };
        clock.set_second(0);
        clock
    }
}

impl Clock {
    pub fn format(&mut self, at: WallNs) -> TimeText {
        let second = at / SECOND;
        if second != self.second {
            self.set_second(second);
        }
        decimal(&mut self.text[20..29], at % SECOND);
        self.text
    }

    fn set_second(&mut self, second: u64) {
        let (year, month, day) = civil(second / 86_400);
        let clock = second % 86_400;
        decimal(&mut self.text[0..4], year);
        decimal(&mut self.text[5..7], month);
        decimal(&mut self.text[8..10], day);
        decimal(&mut self.text[11..13], clock / 3600);
        decimal(&mut self.text[14..16], clock / 60 % 60);
        decimal(&mut self.text[17..19], clock % 60);
        self.second = second;
    }
}

pub fn format(at: WallNs) -> String {
    Clock::default().format(at).iter().map(|&byte| char::from(byte)).collect()
}

fn decimal(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian).
fn civil(day: u64) -> (u64, u64, u64) {
    // Eras of 400 years that start on 1 March, so that the leap day is a year's last.
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Whether this text has exactly the form that `format` gives.
pub fn is_time(text: &[u8]) -> bool {
    text.len() == 30
        && text.iter().zip(b"0000-00-00T00:00:00.000000000Z").all(|(&byte, &form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_known_moments() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_793_700_000_123_456_789, "2026-11-03T10:00:00.123456789Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(format(at), text);
            assert!(is_time(text.as_bytes()));
        }
    }

    #[test]
    fn the_cached_second_does_not_stick() {
        let mut clock = Clock::default();
        let later = clock.format(1_793_700_061_000_000_000);
        assert_eq!(&later, b"2026-11-03T10:01:01.000000000Z");
        assert_eq!(&clock.format(1_793_700_060_999_999_999), b"2026-11-03T10:01:00.999999999Z");
    }
}
