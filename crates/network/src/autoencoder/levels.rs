//! Codes of finite scalar quantisation: each column of a row is one of a few levels, and the levels together are one
//! number (Mentzer et al., 2309.15505, section 3).

use crate::NetworkError;
use crate::spec::refuse;

/// The most columns of a code.
const MOST_COLUMNS: usize = 16;

/// The number of levels of each column of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels(Vec<u32>);

impl Levels {
    /// # Errors
    /// When there are no columns or too many, one has fewer than two levels, or there are more codes than fit into 31
    /// bits.
    pub fn new(levels: Vec<u32>) -> Result<Self, NetworkError> {
        let codes = levels.iter().try_fold(1_u32, |codes, &levels| codes.checked_mul(levels));
        let fits = codes.is_some_and(|codes| codes <= i32::MAX as u32);
        if levels.is_empty() || levels.len() > MOST_COLUMNS || levels.iter().any(|&levels| levels < 2) || !fits {
            let allowed = "1 to 16 numbers, each 2 or more, whose product is at most 2147483647";
            return refuse("levels", format!("{levels:?}"), allowed);
        }
        Ok(Self(levels))
    }

    /// Columns of a code.
    pub fn columns(&self) -> usize {
        self.0.len()
    }

    /// The levels of each column.
    pub fn of_columns(&self) -> &[u32] {
        &self.0
    }

    /// How many codes there are: ids are below it.
    pub fn codes(&self) -> usize {
        self.0.iter().map(|&levels| levels as usize).product()
    }

    /// The code whose columns are nearest to these values in `[−1, 1]`; the first column counts ones.
    pub fn code(&self, values: &[f64]) -> u32 {
        let columns = self.0.iter().zip(values).rev();
        columns.fold(0, |code, (&levels, value)| {
            let last = f64::from(levels - 1);
            code * levels + ((value + 1.0) / 2.0 * last).round().clamp(0.0, last) as u32
        })
    }

    /// What the columns of a code are, in `[−1, 1]`.
    pub fn values(&self, code: u32) -> impl Iterator<Item = f64> {
        let mut rest = code;
        self.0.iter().map(move |&levels| {
            let level = rest % levels;
            rest /= levels;
            2.0 * f64::from(level) / f64::from(levels - 1) - 1.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_and_no_two_are_alike() {
        let levels = Levels::new(vec![8, 5, 5, 5]).unwrap();
        assert_eq!((levels.codes(), levels.columns()), (1000, 4));
        let mut all: Vec<Vec<u64>> = Vec::new();
        for code in 0..1000 {
            let values: Vec<f64> = levels.values(code).collect();
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
            assert_eq!(levels.code(&values), code);
            // A little beside a level is still that level.
            let beside: Vec<f64> = values.iter().map(|value| value + 0.1).collect();
            assert_eq!(levels.code(&beside), code);
            all.push(values.into_iter().map(f64::to_bits).collect());
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
        assert_eq!(levels.code(&[9.0, -9.0, f64::NAN, 0.0]), 7 + 2 * 200);
    }

    #[test]
    fn impossible_levels_are_refused() {
        for levels in [vec![], vec![1, 5], vec![2; 17], vec![1 << 16, 1 << 15]] {
            let error = Levels::new(levels).unwrap_err().to_string();
            assert!(error.starts_with("`levels` is ["), "{error}");
        }
    }
}
