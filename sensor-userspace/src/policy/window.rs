//! Times: a window of the week in a time zone, a moment, a day that ends.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use crate::near::suggestion;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MINUTES: u16 = 24 * 60;
const FORM: &str = "write `Mon-Fri 09:00-17:00 Europe/Berlin`, `22:00-06:00 UTC` or `Sat,Sun UTC`";

/// What is wrong, and the way out.
type Trouble = (String, String);

/// Some hours of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes of the day; the end is not included. Where it is not after the start, it is the next day's.
    start: u16,
    end: u16,
    zone: TimeZone,
}

impl Window {
    /// Reads `Mon-Fri 09:00-17:00 Europe/Berlin`; days or hours may be left out.
    pub(super) fn read(text: &str) -> Result<Window, Trouble> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let clock = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let (days_given, hours_given, zone) = match words.as_slice() {
            [.., last] if clock(last) || days(last).is_ok() => {
                let cause = "it needs a time zone at its end";
                return Err((cause.to_owned(), FORM.to_owned()));
            }
            [hours, zone] if clock(hours) => (None, Some(*hours), zone),
            [days, zone] => (Some(*days), None, zone),
            [days, hours, zone] => (Some(*days), Some(*hours), zone),
            _ => return Err(("it is no window of time".to_owned(), FORM.to_owned())),
        };
        let (start, end) = hours_given.map(hours).transpose()?.unwrap_or((0, MINUTES));
        let days = days_given.map(days).transpose()?.unwrap_or(0x7f);
        Ok(Window { days, start, end, zone: zone_named(zone)? })
    }

    pub fn holds(&self, unix_seconds: i64) -> bool {
        // A clock that is beyond the calendar is in no window.
        let Ok(moment) = Timestamp::from_second(unix_seconds) else { return false };
        let local = moment.to_zoned(self.zone.clone());
        let today = local.weekday().to_monday_zero_offset() as u8 % 7;
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let (start, end) = (i32::from(self.start), i32::from(self.end));
        let begins = |day: u8| self.days >> day & 1 == 1;
        if start < end {
            return begins(today) && (start..end).contains(&minute);
        }
        // Across midnight; the hours after it belong to the day on which the window began.
        begins(today) && minute >= start || begins((today + 6) % 7) && minute < end
    }
}

fn days(text: &str) -> Result<u8, Trouble> {
    let day = |word: &str| {
        DAYS.iter().position(|day| day.eq_ignore_ascii_case(word)).ok_or_else(|| {
            let hint = suggestion(word, DAYS.into_iter()).unwrap_or_else(|| FORM.to_owned());
            (format!("no day is called `{word}`"), hint)
        })
    };
    let mut bits = 0;
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (mut at, last) = (day(first)?, day(last)?);
        bits |= 1 << at;
        while at != last {
            at = (at + 1) % DAYS.len();
            bits |= 1 << at;
        }
    }
    Ok(bits)
}

fn hours(text: &str) -> Result<(u16, u16), Trouble> {
    let minutes = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str| {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok())?
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        let all = hour * 60 + minute;
        (minute < 60 && all <= MINUTES).then_some(all)
    };
    let parsed = text.split_once('-').and_then(|(start, end)| minutes(start).zip(minutes(end)));
    match parsed {
        Some((start, end)) if start == end => {
            let cause = format!("the window `{text}` begins where it ends");
            Err((cause, "write `00:00-24:00` for a whole day".to_owned()))
        }
        Some((start, end)) if start < MINUTES => Ok((start, end)),
        _ => Err((format!("`{text}` are no hours"), FORM.to_owned())),
    }
}

/// By the rules that came with this program, so that every machine reads a policy alike.
fn zone_named(name: &str) -> Result<TimeZone, Trouble> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let zones = TimeZoneDatabase::bundled();
    zones.get(name).map_err(|_| {
        let known: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
        let hint = suggestion(name, known.iter().map(String::as_str))
            .unwrap_or_else(|| "write `UTC`, or a name such as `Europe/Berlin`".to_owned());
        (format!("no time zone is called `{name}`"), hint)
    })
}

/// The Unix second of `2026-11-21T10:00:00Z`.
pub(super) fn moment(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// The end of `2026-12-31` in UTC, or the moment itself.
pub(super) fn end_of(text: &str) -> Option<i64> {
    if text.len() != "2026-12-31".len() {
        return moment(text);
    }
    let next = text.parse::<Date>().ok()?.checked_add(1.day()).ok()?;
    let midnight = next.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_second())
}
