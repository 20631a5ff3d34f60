//! IMF-fixdate, the format in which HTTP dates are written (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A point in time as date and time of day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// The year; it has four digits up to 9999.
    pub year: u64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59; Unix time has no leap seconds.
    pub second: u8,
    /// 0 is Thursday, the weekday of 1970-01-01.
    weekday: u8,
}

impl CivilTime {
    /// Converts seconds since 1970-01-01T00:00:00Z.
    pub fn from_unix(seconds: u64) -> CivilTime {
        let days = seconds / 86_400;
        let time = seconds % 86_400;
        // Count the days from 0000-03-01, so that the leap day is the last day of a year. The rest is arithmetic on
        // eras of 400 years, on years of 365 days with their leap days, and on months, of which five have 153 days.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        CivilTime {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
            weekday: (days % 7) as u8,
        }
    }

    /// The English name of the month in three letters.
    pub fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month) - 1]
    }
}

/// The IMF-fixdate of a Unix time in seconds; a date beyond the year 9999 becomes the last second of 9999.
///
/// ```
/// assert_eq!(&amboss_core::http::imf_fixdate(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn imf_fixdate(seconds: u64) -> [u8; 29] {
    const LAST: u64 = 253_402_300_799;
    let time = CivilTime::from_unix(seconds.min(LAST));
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let two = |value: u8| [b'0' + value / 10, b'0' + value % 10];
    text[0..3].copy_from_slice(DAYS[usize::from(time.weekday)].as_bytes());
    text[5..7].copy_from_slice(&two(time.day));
    text[8..11].copy_from_slice(time.month_name().as_bytes());
    text[12..14].copy_from_slice(&two((time.year / 100) as u8));
    text[14..16].copy_from_slice(&two((time.year % 100) as u8));
    text[17..19].copy_from_slice(&two(time.hour));
    text[20..22].copy_from_slice(&two(time.minute));
    text[23..25].copy_from_slice(&two(time.second));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_dates_have_their_known_text() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&imf_fixdate(seconds)).unwrap(), expected);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_day_before() {
        let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            let time = CivilTime::from_unix(days * 86_400 + 3_661);
            assert_eq!((time.year, time.month, time.day), (year, month, day));
            assert_eq!((time.hour, time.minute, time.second), (1, 1, 1));
            let length = match month {
                2 => 28 + u8::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
