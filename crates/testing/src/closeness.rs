//! Approximate equality of many tensors that reports all of them, not only the first that differs.

use std::fmt;

/// Gathers comparisons, one line each, and fails at the end if any failed.
#[derive(Debug, Default)]
pub struct Comparison {
    lines: Vec<String>,
    failed: usize,
}

impl Comparison {
    /// No comparison yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares `given` with `expected`: the largest difference may be `tolerance` times the largest expected
    /// magnitude, or times 1 where that is smaller than 1. Whatever is no number differs, unless the same is expected.
    pub fn check(&mut self, name: &str, given: &[f64], expected: &[f64], tolerance: f64) {
        let wanted =
            expected.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, value| most.max(value.abs()));
        let limit = tolerance * wanted.max(1.0);
        let difference = |(a, b): (&f64, &f64)| match (a - b).abs() {
            _ if a == b => 0.0,
            difference if difference.is_nan() => f64::INFINITY,
            difference => difference,
        };
        let differences: Vec<f64> = given.iter().zip(expected).map(difference).collect();
        let worst = (0..differences.len()).max_by(|&a, &b| differences[a].total_cmp(&differences[b]));
        let line = match worst {
            _ if given.len() != expected.len() => {
                self.failed += 1;
                format!("{name}: {} values, expected {}", given.len(), expected.len())
            }
            Some(at) if differences[at] > limit => {
                self.failed += 1;
                let (a, b) = (given[at], expected[at]);
                format!(
                    "{name}: {a:e} where {b:e} is expected, at {at} of {} (allowed difference {limit:.1e})",
                    given.len()
                )
            }
            Some(at) => format!("{name}: OK, largest difference {:.1e}", differences[at]),
            None => format!("{name}: OK, empty"),
        };
        self.lines.push(line);
    }

    /// Panics with all lines if any comparison failed, or if there was none.
    #[track_caller]
    pub fn finish(self) {
        assert!(!self.lines.is_empty(), "nothing was compared");
        assert!(self.failed == 0, "{} of {} differ\n{self}", self.failed, self.lines.len());
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Comparison;

    fn failures(given: &[f64], expected: &[f64]) -> usize {
        let mut comparison = Comparison::new();
        comparison.check("x", given, expected, 1e-6);
        comparison.failed
    }

    #[test]
    fn differences_are_measured_against_the_largest_value() {
        assert_eq!(failures(&[1e6, 0.5], &[1e6, 0.0]), 0);
        assert_eq!(failures(&[1e6, 2.0], &[1e6, 0.0]), 1);
        assert_eq!(failures(&[1e-7], &[0.0]), 0);
        assert_eq!(failures(&[1e-5], &[0.0]), 1);
    }

    #[test]
    fn what_is_no_number_differs_and_equal_infinities_do_not() {
        assert_eq!(failures(&[f64::NAN], &[0.0]), 1);
        assert_eq!(failures(&[f64::NEG_INFINITY], &[f64::NEG_INFINITY]), 0);
        assert_eq!(failures(&[f64::INFINITY], &[1.0]), 1);
        assert_eq!(failures(&[1.0], &[1.0, 2.0]), 1);
    }

    #[test]
    #[should_panic(expected = "nothing was compared")]
    fn comparing_nothing_is_no_success() {
        Comparison::new().finish();
    }
}
