//! A share of hits with the interval in which the true one lies.

use serde::{Serialize, Serializer};

/// The 97.5th percentile of the normal distribution: intervals hold the true share in 95 % of all samples.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// How many of some are hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Hits.
    pub hits: u64,
    /// All of them.
    pub count: u64,
}

impl Share {
    /// Counts one more.
    pub fn add(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.count += 1;
    }

    /// Hits per count; 0 of none.
    pub fn rate(self) -> f64 {
        self.hits as f64 / self.count.max(1) as f64
    }

    /// The interval of Wilson at 95 % (Journal of the American Statistical Association 22(158), 1927), which unlike that of
    /// the normal distribution is right for few of them and for shares near 0 and 1; `[0, 1]` of none.
    pub fn interval(self) -> [f64; 2] {
        if self.count == 0 {
            return [0.0, 1.0];
        }
        let (n, p) = (self.count as f64, self.rate());
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
    }

    /// The rate and its interval in %, for people: `66.7 (20.8–93.9)`; empty of none.
    pub fn percent(self) -> String {
        if self.count == 0 {
            return String::new();
        }
        percent_with_interval(self.rate(), self.interval())
    }
}

/// A value in `[0, 1]` and its interval in %, for people: `66.7 (20.8–93.9)`.
pub fn percent_with_interval(value: f64, interval: [f64; 2]) -> String {
    let [low, high] = interval.map(|end| 100.0 * end);
    format!("{:.1} ({low:.1}–{high:.1})", 100.0 * value)
}

impl FromIterator<bool> for Share {
    fn from_iter<I: IntoIterator<Item = bool>>(all: I) -> Self {
        let mut share = Self::default();
        all.into_iter().for_each(|is_hit| share.add(is_hit));
        share
    }
}

/// With its rate and its interval, so that readers need not compute them.
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole {
            hits: u64,
            count: u64,
            rate: f64,
            interval: [f64; 2],
        }
        let Self { hits, count } = *self;
        Whole { hits, count, rate: self.rate(), interval: self.interval() }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_that_newcombe_gives() {
        // Figures of Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
        for (hits, count, [low, high]) in [
            (81, 263, [0.2553, 0.3662]),
            (15, 148, [0.0624, 0.1605]),
            (0, 20, [0.0, 0.1611]),
            (1, 29, [0.0061, 0.1718]),
        ] {
            let found = Share { hits, count }.interval();
            assert!((found[0] - low).abs() < 5e-5 && (found[1] - high).abs() < 5e-5, "{found:?}");
        }
        assert_eq!((Share::default().rate(), Share::default().interval()), (0.0, [0.0, 1.0]));
        let all = Share { hits: 7, count: 7 };
        assert!(all.rate() == 1.0 && all.interval()[1] == 1.0 && all.interval()[0] < 1.0);
        assert_eq!([true, false, true].into_iter().collect::<Share>(), Share { hits: 2, count: 3 });
    }

    #[test]
    fn people_read_percent_and_nothing_of_none() {
        assert_eq!(Share { hits: 2, count: 3 }.percent(), "66.7 (20.8–93.9)");
        assert_eq!(Share { hits: 0, count: 20 }.percent(), "0.0 (0.0–16.1)");
        assert_eq!(Share::default().percent(), "");
    }
}
