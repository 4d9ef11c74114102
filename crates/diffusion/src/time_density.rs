//! Where along the times a process pays: times for training and for sampling that follow the cost.
//!
//! The cost of a prediction hardly changes over most times and falls steeply over some; a density `q(t) ∝ max(0,
//! dL/dt)` puts training where it is still to be learned and steps of sampling where something is decided (time
//! warping: CDCD, 2211.15089, section 3.3; SDM, 2609.35553, section 4). With times drawn so, the cost rises evenly with
//! the rank of the time, and for a gaussian field the variance of the bound is least (RePlaid, 2605.18530).
//!
//! Deviation: a share of the density stays even, so that no time is ever given up.

use crate::Time;

/// The even share of the density.
const EVEN: f64 = 0.1;
/// What one observation weighs in a bin's running mean is 1 − this.
const DECAY: f64 = 0.9;

/// The running mean cost in each of some equal parts of `[0, 1]`, and the density of times that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeDensity {
    /// Mean cost of each bin; `None` before its first observation.
    costs: Vec<Option<f64>>,
}

impl TimeDensity {
    /// Bins of the paper.
    pub const BINS: usize = 50;

    /// Nothing observed yet: all times are alike.
    pub fn new() -> Self {
        Self { costs: vec![None; Self::BINS] }
    }

    /// What was observed before; bins beyond the usual number are left out.
    pub fn from_costs(costs: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut costs: Vec<Option<f64>> = costs.into_iter().take(Self::BINS).collect();
        costs.resize(Self::BINS, None);
        Self { costs }
    }

    /// The running mean of each bin.
    pub fn costs(&self) -> &[Option<f64>] {
        &self.costs
    }

    /// Takes the mean costs per position that a batch had at its times.
    pub fn observe(&mut self, observed: impl IntoIterator<Item = (Time, f64)>) {
        let mut sums = [(0.0, 0usize); Self::BINS];
        for (t, cost) in observed {
            let bin = ((t.value() * Self::BINS as f64) as usize).min(Self::BINS - 1);
            if cost.is_finite() {
                sums[bin] = (sums[bin].0 + cost, sums[bin].1 + 1);
            }
        }
        for (known, (sum, count)) in self.costs.iter_mut().zip(sums).filter(|(_, (_, count))| *count > 0) {
            let mean = sum / count as f64;
            *known = Some(known.map_or(mean, |known| DECAY * known + (1.0 - DECAY) * mean));
        }
    }

    /// The probability of each bin.
    pub fn probabilities(&self) -> Vec<f64> {
        let even = 1.0 / Self::BINS as f64;
        if self.costs.iter().any(Option::is_none) {
            return vec![even; Self::BINS];
        }
        let known: Vec<f64> = self.costs.iter().flatten().copied().collect();
        // The rise over a bin is that between the middles of its neighbours; at the ends, to the bin itself.
        let at = |bin: usize| known[bin.min(Self::BINS - 1)];
        let rise = |bin: usize| ((at(bin + 1) - at(bin.saturating_sub(1))) / 2.0).max(0.0);
        let rises: Vec<f64> = (0..Self::BINS).map(rise).collect();
        let total: f64 = rises.iter().sum();
        if total > 0.0 {
            rises.into_iter().map(|rise| EVEN * even + (1.0 - EVEN) * rise / total).collect()
        } else {
            vec![even; Self::BINS]
        }
    }

    /// The times at evenly spaced ranks: what sampling steps along.
    pub fn grid(&self) -> TimeGrid {
        let mut sum = 0.0;
        let mut cumulative = vec![0.0];
        for probability in self.probabilities() {
            sum += probability;
            cumulative.push(sum);
        }
        TimeGrid { cumulative, times: Vec::new() }
    }

    /// The density at a time, 1 on average.
    pub fn density(&self, t: Time) -> f64 {
        let bin = ((t.value() * Self::BINS as f64) as usize).min(Self::BINS - 1);
        self.probabilities()[bin] * Self::BINS as f64
    }
}

impl Default for TimeDensity {
    fn default() -> Self {
        Self::new()
    }
}

/// A monotone map from rank to time, `[0, 1]` onto `[0, 1]`; the identity where nothing is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeGrid {
    /// The rank at each of evenly spaced times, from 0 to 1; empty for the identity.
    cumulative: Vec<f64>,
    /// The time at each of evenly spaced ranks, from 0 to 1; empty where `cumulative` says it.
    times: Vec<f64>,
}

impl TimeGrid {
    /// The grid of given times at evenly spaced ranks: with as many steps as there are parts, the times between which they
    /// lead. `None` unless they rise from 0 to 1.
    pub fn of_times(times: Vec<f64>) -> Option<Self> {
        let rises = times.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = times.first().zip(times.last());
        let whole = ends.is_some_and(|(first, last)| *first == 0.0 && *last == 1.0);
        (rises && whole).then_some(Self { cumulative: Vec::new(), times })
    }

    /// The grid of given ranks at evenly spaced times; `None` unless they rise from 0 to 1.
    pub fn new(cumulative: Vec<f64>) -> Option<Self> {
        let rises = cumulative.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = cumulative.first().zip(cumulative.last());
        let whole = ends.is_some_and(|(first, last)| first.abs() < 1e-9 && (last - 1.0).abs() < 1e-6);
        (rises && whole).then_some(Self { cumulative, times: Vec::new() })
    }

    /// The ranks at evenly spaced times; none of the identity and of a grid of given times.
    pub fn ranks(&self) -> &[f64] {
        &self.cumulative
    }

    /// The time of a rank.
    pub fn time(&self, rank: f64) -> Time {
        if let Some(parts) = self.times.len().checked_sub(1).filter(|parts| *parts > 0) {
            let place = rank.clamp(0.0, 1.0) * parts as f64;
            let lower = (place as usize).min(parts - 1);
            let (low, high) = (self.times[lower], self.times[lower + 1]);
            return Time::nearest(low + (high - low) * (place - lower as f64));
        }
        if self.cumulative.len() < 2 {
            return Time::nearest(rank);
        }
        let parts = self.cumulative.len() - 1;
        let upper = self.cumulative.partition_point(|c| *c < rank).clamp(1, parts);
        let (low, high) = (self.cumulative[upper - 1], self.cumulative[upper]);
        let inside = ((rank - low) / (high - low)).clamp(0.0, 1.0);
        Time::nearest(((upper - 1) as f64 + inside) / parts as f64)
    }
}
