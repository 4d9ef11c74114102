//! An amount of memory as people write it.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes: `2GiB`, `1.5 GiB`, `800MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no amount of memory; allowed: a number and one of the units B, KiB, MiB, GiB, TiB, as in \"2GiB\""
)]
pub struct ParseByteSizeError {
    /// What was given.
    given: String,
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let amount = UNITS.iter().find_map(|(unit, bytes)| {
            let number: f64 = given.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
            let amount = number * *bytes as f64;
            (amount.is_finite() && amount >= 0.0 && amount < u64::MAX as f64).then_some(Self(amount as u64))
        });
        amount.ok_or_else(|| ParseByteSizeError { given: given.to_owned() })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit of which it is a whole number, so that it is read back to the byte.
        let (unit, bytes) =
            UNITS.into_iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units_and_back() {
        for (text, bytes, shown) in [
            ("2GiB", 2 << 30, "2GiB"),
            (" 1.5 GiB ", 3 << 29, "1536MiB"),
            ("800MiB", 800 << 20, "800MiB"),
            ("1023B", 1023, "1023B"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
            assert_eq!(shown.parse(), Ok(size));
        }
        for text in ["2", "GiB", "2GB", "-1MiB", "infTiB", "NaNB", "1e30TiB", ""] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(
                error.ends_with("allowed: a number and one of the units B, KiB, MiB, GiB, TiB, as in \"2GiB\""),
                "{error}"
            );
        }
    }
}
