//! Dates of cookies, which servers write in many forms (RFC 6265, section 5.1.1).
//!
//! It knows no cookie. The main function is [`parse_cookie_date`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// First letters of the months.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Parts of a date that were found so far.
#[derive(Default)]
struct Parts {
    /// Hour, minute and second.
    time: Option<[u32; 3]>,
    day: Option<u32>,
    /// Index in [`MONTHS`].
    month: Option<usize>,
    year: Option<u32>,
}

/// Parses a date in any form, as browsers do: its parts in any order, with any separators. A date
/// before 1970 is returned as 1970.
pub fn parse_cookie_date(text: &str) -> Option<SystemTime> {
    let mut parts = Parts::default();
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        parts.take(token);
    }
    let Parts {
        time: Some([hour, minute, second]),
        day: Some(day @ 1..=31),
        month: Some(month),
        year: Some(year),
    } = parts
    else {
        return None;
    };
    let year = match year {
        0..=69 => 2000 + year,
        70..=99 => 1900 + year,
        _ => year,
    };
    if hour > 23 || minute > 59 || second > 59 || year < 1601 {
        return None;
    }
    let seconds = u64::from(hour * 3600 + minute * 60 + second);
    let since_epoch = days_since_1970(year, month, day).map(|days| days * 86_400 + seconds);
    Some(UNIX_EPOCH + Duration::from_secs(since_epoch.unwrap_or(0)))
}

/// Returns the number of days from 1970 to a day of the Gregorian calendar, or `None` before 1970.
/// A day behind the end of its month belongs to the next one.
fn days_since_1970(year: u32, month: usize, day: u32) -> Option<u64> {
    const DAYS_BEFORE_MONTH: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    // Years that have ended. The leap day of this year counts from March on.
    let years = if month >= 2 { year } else { year - 1 };
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = year * 365 + leap_days + DAYS_BEFORE_MONTH[month] + day - 1;
    let first = 1970 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400;
    days.checked_sub(first).map(u64::from)
}

impl Parts {
    /// Takes a token as the first part that is missing and that it can be.
    fn take(&mut self, token: &str) {
        if self.time.is_none()
            && let Some(time) = parse_time(token)
        {
            self.time = Some(time);
        } else if self.day.is_none()
            && let Some(day) = leading_number(token, 1..=2)
        {
            self.day = Some(day);
        } else if self.month.is_none()
            && let Some(month) = parse_month(token)
        {
            self.month = Some(month);
        } else if self.year.is_none() {
            self.year = leading_number(token, 2..=4);
        }
    }
}

/// Returns whether the character separates the parts of a date.
fn is_delimiter(char: char) -> bool {
    matches!(char, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~')
}

fn parse_time(token: &str) -> Option<[u32; 3]> {
    let mut fields = token.splitn(3, ':');
    let mut exact = || {
        let field = fields.next()?;
        let is_number = field.bytes().all(|byte| byte.is_ascii_digit());
        leading_number(field, 1..=2).filter(|_| is_number)
    };
    let (hour, minute) = (exact()?, exact()?);
    Some([hour, minute, leading_number(fields.next()?, 1..=2)?])
}

fn parse_month(token: &str) -> Option<usize> {
    let name = token.get(..3)?;
    MONTHS
        .iter()
        .position(|month| month.eq_ignore_ascii_case(name))
}

/// Returns the number at the start of the token, if it has so many digits.
fn leading_number(token: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let end = token
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(token.len());
    digits
        .contains(&end)
        .then(|| token[..end].parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_many_forms() {
        let wanted = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").ok();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "6 nov 1994 8:49:37",
            "08:49:37 November 6 1994",
            "Sun,06/Nov/1994;08:49:37 +0000",
        ] {
            assert_eq!(parse_cookie_date(text), wanted, "{text}");
        }
        for text in [
            "",
            "1",
            "Sun, 06 Nov 1994",
            "06 Nov 1994 24:00:00",
            "00 Nov 1994 08:49:37",
            "06 Nov 1600 08:49:37",
            "06 Nov 19940 08:49:37",
            "06 N\u{f6}v 1994 08:49:37",
            "08:49 06 Nov 1994",
        ] {
            assert_eq!(parse_cookie_date(text), None, "{text}");
        }
        for text in [
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Tue, 29 Feb 2000 23:59:59 GMT",
            "Wed, 01 Mar 2000 00:00:00 GMT",
            "Sun, 31 Dec 2023 12:00:00 GMT",
            "Mon, 01 Mar 2100 00:00:00 GMT",
        ] {
            let wanted = httpdate::parse_http_date(text).ok();
            assert_eq!(parse_cookie_date(text), wanted, "{text}");
        }
        let old = parse_cookie_date("Mon, 01-Jan-1900 00:00:00 GMT");
        assert_eq!(old, Some(UNIX_EPOCH));
    }
}
