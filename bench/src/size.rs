//! Sizes as people write them on a command line: `4096`, `4KiB`, `64MiB`, `1GiB`.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a size; write a whole number of bytes, or of KiB, MiB or GiB, such as 64MiB")]
pub(crate) struct SizeError(String);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let unit = UNITS.iter().find_map(|(name, bytes)| {
            let number = text.strip_suffix(name)?;
            Some((number.trim_end(), *bytes))
        });
        let (number, unit) = unit.unwrap_or((text, 1));
        let number: Option<u64> = number.parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| SizeError(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match fitting {
            Some((name, unit)) => write!(out, "{} {name}", self.0 / unit),
            None => write!(out, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4KiB", 4096),
            ("64 MiB", 64 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5GiB", "4kb", "99999999999GiB"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError(text.to_owned())));
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        let shown = [4096, 64 << 20, 1 << 30, 1536].map(|bytes| Size(bytes).to_string());
        assert_eq!(shown, ["4 KiB", "64 MiB", "1 GiB", "1536 bytes"]);
    }
}
