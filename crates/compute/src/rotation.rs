//! By how much positions turn the columns of queries and keys: rotary positions (Su et al., 2104.09864) and what later
//! models made of their frequencies.
//!
//! A row may have a place on several axes, such as time, row and column (M-RoPE of Qwen2-VL, 2409.12191, section 2.1). The
//! pairs of a head then belong to the axes in turn, so that each axis has short waves and long ones.
//!
//! All numbers are computed in f64, and so are the same on every device.

use std::f64::consts::TAU;

/// How positions turn the columns of a head: of the first `columns` columns, `i` and `i + columns/2` are a pair, which
/// turns by `position · frequency(i)`, where the position is the row's index on the pair's axis, `i mod axes`. The columns
/// behind them do not turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    /// Base of the geometric frequencies `theta^(−2i/columns)`.
    pub theta: f64,
    /// Columns of a head that are in pairs, an even number and no more than there are.
    pub columns: usize,
    /// What becomes of the geometric frequencies.
    pub scaling: RotationScaling,
    /// Axes of a row's place, 1 or more; with one of them the place is the position.
    pub axes: usize,
}

/// What becomes of geometric frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RotationScaling {
    /// They stay.
    None,
    /// Only so many of the first pairs turn ("proportional" in Gemma's configurations).
    Proportional {
        /// The pairs that turn.
        pairs: usize,
    },
    /// Those of long waves are slowed down.
    Yarn(Yarn),
}

/// YaRN (Peng et al., 2309.00071, section 3): frequencies whose waves are long against the context of the training are
/// divided by `factor`, those of short waves stay, and there is a ramp between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// By how much the context was extended.
    pub factor: f64,
    /// Positions of the context before it was extended.
    pub original_context: usize,
    /// Waves that turn more often than that within the original context stay.
    pub beta_fast: f64,
    /// Waves that turn less often than that are divided.
    pub beta_slow: f64,
    /// What turned pairs of queries and keys are multiplied by.
    pub attention_factor: f64,
}

/// Queries grow with their position, on the first axis: times `1 + beta · ln(1 + ⌊position / every⌋)` (Llama 4's
/// temperature of attention).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryGrowth {
    /// How much.
    pub beta: f64,
    /// Positions of equal factors.
    pub every: usize,
}

impl Rotation {
    /// Geometric frequencies of so many columns, on one axis.
    pub fn new(theta: f64, columns: usize) -> Self {
        Self { theta, columns, scaling: RotationScaling::None, axes: 1 }
    }

    /// The axis on which pair `pair` turns.
    pub fn axis(&self, pair: usize) -> usize {
        pair % self.axes
    }

    /// The angle by which pair `pair` turns from one position to the next, in radians.
    pub fn frequency(&self, pair: usize) -> f64 {
        let geometric = self.theta.powf(-2.0 * pair as f64 / self.columns as f64);
        match self.scaling {
            RotationScaling::None => geometric,
            RotationScaling::Proportional { pairs } if pair < pairs => geometric,
            RotationScaling::Proportional { .. } => 0.0,
            RotationScaling::Yarn(yarn) => {
                let slowed = yarn.slowed(self, pair);
                geometric / yarn.factor * slowed + geometric * (1.0 - slowed)
            }
        }
    }

    /// Cosine and sine of the angle by which pair `pair` turns at `position`, times the attention factor.
    pub(crate) fn at(&self, position: u32, pair: usize) -> (f64, f64) {
        let (sine, cosine) = (f64::from(position) * self.frequency(pair)).sin_cos();
        match self.scaling {
            RotationScaling::Yarn(yarn) => (cosine * yarn.attention_factor, sine * yarn.attention_factor),
            RotationScaling::None | RotationScaling::Proportional { .. } => (cosine, sine),
        }
    }
}

impl Yarn {
    /// Where between 0, as it is, and 1, divided, the frequency of a pair lies.
    fn slowed(&self, rotation: &Rotation, pair: usize) -> f64 {
        let columns = rotation.columns as f64;
        // The pair whose wave turns so often within the original context.
        let pair_of =
            |often: f64| columns * (self.original_context as f64 / (often * TAU)).ln() / (2.0 * rotation.theta.ln());
        let low = pair_of(self.beta_fast).floor().max(0.0);
        let high = pair_of(self.beta_slow).ceil().min(columns - 1.0);
        // A ramp of no length is a step.
        let length = if low == high { 0.001 } else { high - low };
        ((pair as f64 - low) / length).clamp(0.0, 1.0)
    }
}

impl QueryGrowth {
    /// What the query of a position is multiplied by.
    pub fn at(&self, position: u32) -> f64 {
        1.0 + self.beta * f64::from(position / u32::try_from(self.every.max(1)).unwrap_or(u32::MAX)).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yarn(factor: f64) -> Rotation {
        let yarn = Yarn { factor, original_context: 4096, beta_fast: 32.0, beta_slow: 1.0, attention_factor: 1.0 };
        Rotation { scaling: RotationScaling::Yarn(yarn), ..Rotation::new(1e6, 64) }
    }

    #[test]
    fn yarn_slows_long_waves_down_and_leaves_short_ones() {
        let (plain, scaled) = (Rotation::new(1e6, 64), yarn(16.0));
        let shares: Vec<f64> = (0..32).map(|pair| scaled.frequency(pair) / plain.frequency(pair)).collect();
        assert_eq!(shares[0], 1.0);
        assert!((shares[31] - 1.0 / 16.0).abs() < 1e-15, "{shares:?}");
        assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
        // Waves of 32 turns in 4096 positions are those of pair 6.97, and of one turn of pair 15.004.
        let between: Vec<usize> =
            (0..32).filter(|&pair| shares[pair] < 1.0 && shares[pair] > 1.0 / 16.0 + 1e-12).collect();
        assert_eq!(between, (7..16).collect::<Vec<_>>());
        // A factor of 1 is no scaling.
        assert!((0..32).all(|pair| yarn(1.0).frequency(pair) == plain.frequency(pair)));
    }

    #[test]
    fn proportional_pairs_turn_as_in_a_whole_head_and_the_others_do_not() {
        let whole = Rotation::new(1e6, 32);
        let some = Rotation { scaling: RotationScaling::Proportional { pairs: 4 }, ..whole };
        for pair in 0..16 {
            assert_eq!(some.frequency(pair), if pair < 4 { whole.frequency(pair) } else { 0.0 });
        }
        assert_eq!(some.at(1000, 9), (1.0, 0.0));
    }

    #[test]
    fn pairs_belong_to_the_axes_in_turn() {
        let rotation = Rotation { axes: 3, ..Rotation::new(1e4, 14) };
        assert_eq!((0..7).map(|pair| rotation.axis(pair)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
        assert!((0..7).all(|pair| Rotation::new(1e4, 14).axis(pair) == 0));
    }

    #[test]
    fn queries_grow_in_steps() {
        let growth = QueryGrowth { beta: 0.1, every: 16 };
        assert!((0..16).all(|position| growth.at(position) == 1.0));
        assert!((16..32).all(|position| growth.at(position) == 1.0 + 0.1 * 2f64.ln()));
    }
}
