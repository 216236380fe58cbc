//! Numbers, times and sizes. Times and sizes carry their unit, so that nobody has to look it up.

use std::time::Duration;

use super::{Reason, Scalar};
use crate::resolved::LogLevel;

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Scalar for Whole<MIN, MAX> {
    fn expects() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(_) | Err(_) => Err(String::new()),
        }
    }
}

/// A share of everything, from 0 to 1.
pub(crate) struct Share(pub f64);

impl Scalar for Share {
    fn expects() -> String {
        "a number from 0 to 1, such as 0.05".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            Ok(_) | Err(_) => Err(String::new()),
        }
    }
}

/// A time longer than zero.
pub(crate) struct Timeout(pub Duration);

/// A time that may be zero.
pub(crate) struct Period(pub Duration);

impl Scalar for Timeout {
    fn expects() -> String {
        "a duration with its unit, such as 500ms, 30s, 5m or 1h, longer than 0".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let time = duration(text)?;
        if time.is_zero() {
            return Err("zero is not allowed".to_owned());
        }
        Ok(Self(time))
    }
}

impl Scalar for Period {
    fn expects() -> String {
        "a duration with its unit, such as 0s, 500ms, 30s or 5m".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        duration(text).map(Self)
    }
}

/// A time with its unit, for arguments of commands; errors say what is expected.
pub fn period(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|reason| {
        let expected = "expected a duration with its unit, such as 30m, 12h or 1d";
        if reason.is_empty() {
            expected.to_owned()
        } else {
            format!("{reason}; {expected}")
        }
    })
}

/// Longest time: longer than any sensible one, short enough to be added to any instant.
const LONGEST: Duration = Duration::from_hours(24 * 7);

fn duration(text: &str) -> Result<Duration, Reason> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        "" => return Err("the unit is missing".to_owned()),
        unit => return Err(format!("{unit:?} is not a unit of time")),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .filter(|time| *time <= LONGEST)
        .ok_or_else(|| "the longest is 168h".to_owned())
}

/// A size in bytes, from `MIN` to `MAX`.
pub(crate) struct ByteCount<const MIN: usize, const MAX: usize>(pub usize);

impl<const MIN: usize, const MAX: usize> Scalar for ByteCount<MIN, MAX> {
    fn expects() -> String {
        format!(
            "a size in B, KiB, MiB or GiB, from {} to {}",
            shown(MIN),
            shown(MAX)
        )
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let (number, unit) = number_and_unit(text)?;
        let bytes: u64 = match unit {
            // A bare number is in bytes.
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            unit => return Err(format!("{unit:?} is not a unit of size")),
        };
        number
            .checked_mul(bytes)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| (MIN..=MAX).contains(bytes))
            .map(Self)
            .ok_or_else(String::new)
    }
}

fn shown(bytes: usize) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || format!("{bytes} B"),
            |(shift, unit)| format!("{} {unit}", bytes >> shift),
        )
}

fn number_and_unit(text: &str) -> Result<(u64, &str), Reason> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_| String::new())?;
    Ok((number, unit.trim_start()))
}

/// A log level by name, or by number as in the older proxies.
pub(crate) struct Level(pub LogLevel);

impl Scalar for Level {
    fn expects() -> String {
        "error | warn | info | debug, or a number: -1 and below debug, 0 info, 1 warn, 2 and \
         above error"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let level = match text.to_ascii_lowercase().as_str() {
            "error" => LogLevel::Error,
            "warn" | "warning" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            text => match text.parse::<i64>().map_err(|_| String::new())? {
                ..=-1 => LogLevel::Debug,
                0 => LogLevel::Info,
                1 => LogLevel::Warn,
                2.. => LogLevel::Error,
            },
        };
        Ok(Self(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_a_bound() {
        let time = |text| Period::parse(text).map(|Period(time)| time.as_millis());
        assert_eq!(time("250ms"), Ok(250));
        assert_eq!(time("30 s"), Ok(30_000));
        assert_eq!(time("5m"), Ok(300_000));
        assert_eq!(time("168h"), Ok(604_800_000));
        assert_eq!(time("0s"), Ok(0));
        assert_eq!(time("30"), Err("the unit is missing".to_owned()));
        assert_eq!(time("7d"), time("168h"));
        assert_eq!(time("30y"), Err("\"y\" is not a unit of time".to_owned()));
        assert_eq!(time("30d"), Err("the longest is 168h".to_owned()));
        assert_eq!(time("169h"), Err("the longest is 168h".to_owned()));
        assert_eq!(time("99999999999999999999s"), Err(String::new()));
        assert!(Timeout::parse("0s").is_err());
    }

    #[test]
    fn a_size_is_in_binary_units_and_within_its_bounds() {
        type Size = ByteCount<1024, { 1 << 20 }>;
        let size = |text| Size::parse(text).map(|ByteCount(bytes)| bytes);
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("64 KiB"), Ok(65536));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        assert_eq!(size("1023"), Err(String::new()));
        assert_eq!(size("2MiB"), Err(String::new()));
        assert_eq!(size("64k"), Err("\"k\" is not a unit of size".to_owned()));
        assert_eq!(
            Size::expects(),
            "a size in B, KiB, MiB or GiB, from 1 KiB to 1 MiB"
        );
    }

    #[test]
    fn levels_have_names_and_the_older_proxies_numbers() {
        let level = |text| Level::parse(text).map(|Level(level)| level);
        assert_eq!(level("-4"), Ok(LogLevel::Debug));
        assert_eq!(level("-1"), Ok(LogLevel::Debug));
        assert_eq!(level("0"), Ok(LogLevel::Info));
        assert_eq!(level("1"), Ok(LogLevel::Warn));
        assert_eq!(level("2"), Ok(LogLevel::Error));
        assert_eq!(level("8"), Ok(LogLevel::Error));
        assert_eq!(level("WARN"), Ok(LogLevel::Warn));
        assert!(level("loud").is_err());
    }
}
