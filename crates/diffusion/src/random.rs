//! Randomness that depends on where and when it is drawn, and on nothing else.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a keyed bijection of a 128-bit
//! counter. A draw is a function of (seed, position, step, index), so neither batching, nor the order in which canvases
//! are served, nor the number of threads can change it, and resuming needs no saved generator. All derived numbers are
//! f64: categorical draws from f32 Gumbel noise silently lower the temperature (2409.02908).
//!
//! Deviation: the paper leaves the use of the counter open. Here the step is folded into the key by one application of
//! the bijection; the counter holds (index, position), 64 bits each.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The bijection: four words of counter under two words of key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let wide = |multiplier: u32, word: u32| {
            let product = u64::from(multiplier) * u64::from(word);
            ((product >> 32) as u32, product as u32)
        };
        let (high_0, low_0) = wide(MULTIPLIERS[0], counter[0]);
        let (high_1, low_1) = wide(MULTIPLIERS[1], counter[2]);
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// What a draw inside this crate is for, so that no two uses at one position and step share their bits. Proposals are
/// drawn from the caller's own key.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Purpose {
    Commit = 0x636f_6d6d,
    Remask = 0x7265_6d61,
    Begin = 0x6265_6769,
    Hide = 0x6869_6465,
    Walk = 0x7761_6c6b,
    Renoise = 0x7265_6e6f,
    Again = 0x0061_6761_696e,
    Reopen = 0x7265_6f70,
    Fill = 0x6669_6c6c,
}

/// The root of a family of draws: a seed, or a seed with a purpose folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A key for one purpose: different values give unrelated draws.
    #[must_use]
    pub fn fold(self, value: u64) -> Self {
        let [low, high] = words(value);
        // The last words keep these counters apart from those of `Draws`: no canvas has a position that large.
        let mixed = philox([low, high, 0x464F_4C44, 0x4B45_5921], words(self.0));
        Self(joined(mixed[0], mixed[1]))
    }

    /// The draws of one position at one step.
    pub fn at(self, position: u64, step: u64) -> Draws {
        Draws { key: words(self.fold(step).0), position: words(position), block: 0, pending: None }
    }
}

/// Where the uniform numbers come from by which the tokens of positions are drawn.
pub trait Uniforms: std::fmt::Debug + Send + Sync {
    /// The number in (0, 1) of a position at a step, which is counted over the whole canvas.
    fn uniform(&self, position: usize, step: u64) -> f64;
}

impl Uniforms for Key {
    fn uniform(&self, position: usize, step: u64) -> f64 {
        self.at(position as u64, step).uniform()
    }
}

/// A sequence of draws; the same key, position and step always give the same sequence.
#[derive(Debug, Clone)]
pub struct Draws {
    key: [u32; 2],
    position: [u32; 2],
    block: u64,
    pending: Option<u64>,
}

impl Draws {
    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        if let Some(second) = self.pending.take() {
            return second;
        }
        let [low, high] = words(self.block);
        self.block = self.block.wrapping_add(1);
        let out = philox([low, high, self.position[0], self.position[1]], self.key);
        self.pending = Some(joined(out[2], out[3]));
        joined(out[0], out[1])
    }

    /// A number in the open interval (0, 1): one of 2⁵² equally spaced, never an end.
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) * (0.5f64).powi(52)
    }

    /// An integer below `n`, all equally likely; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // Lemire (1805.10941): the high half of a product, with the few values that would favour some result rejected.
        let rejected = n.wrapping_neg().checked_rem(n).unwrap_or(0);
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// Standard normal noise (Box and Muller); two uniform draws for each.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// The logarithm of a gamma variable of this shape, which is above 0, and scale 1 (Marsaglia & Tsang, "A simple method
    /// for generating gamma variables", 2000).
    ///
    /// A shape far below 1 gives values that no f64 holds; their logarithms are quite usual numbers.
    pub fn log_gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // G(a) = G(a + 1) · U^(1/a).
            return self.log_gamma(shape + 1.0) + self.uniform().ln() / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d.ln() + v.ln();
            }
        }
    }

    /// The logarithms of a beta variable and of what it lacks to 1, each with all its digits. A shape of 0 is a certain 0,
    /// or a certain 1 where it is the second.
    pub fn log_beta(&mut self, first: f64, second: f64) -> (f64, f64) {
        match (first > 0.0, second > 0.0) {
            (false, _) => return (f64::NEG_INFINITY, 0.0),
            (true, false) => return (0.0, f64::NEG_INFINITY),
            (true, true) => {}
        }
        let (x, y) = (self.log_gamma(first), self.log_gamma(second));
        let largest = x.max(y);
        let sum = largest + ((x - largest).exp() + (y - largest).exp()).ln();
        (x - sum, y - sum)
    }

    /// An index with probability proportional to its weight, by one uniform draw; `None` where no weight is positive.
    ///
    /// Weights that are negative or no number count as 0.
    pub fn categorical(&mut self, weights: &[f64]) -> Option<usize> {
        categorical(weights, self.uniform())
    }

    /// `count` different indices below `length`, every set equally likely, in rising order; all where `count` is larger.
    pub fn choose(&mut self, length: usize, count: usize) -> Vec<usize> {
        // Selection sampling (Knuth, volume 2, 3.4.2, algorithm S): one pass, already in order.
        let count = count.min(length);
        let mut chosen = Vec::with_capacity(count);
        for index in 0..length {
            if self.uniform() * ((length - index) as f64) < (count - chosen.len()) as f64 {
                chosen.push(index);
            }
        }
        chosen
    }
}

/// An index with probability proportional to its weight, decided by a uniform number: see [`Draws::categorical`].
pub(crate) fn categorical(weights: &[f64], uniform: f64) -> Option<usize> {
    let usable = |w: &f64| if *w > 0.0 { *w } else { 0.0 };
    let total: f64 = weights.iter().map(usable).sum();
    let mut left = uniform * total;
    let mut last = None;
    for (index, weight) in weights.iter().map(usable).enumerate() {
        if weight > 0.0 {
            last = Some(index);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    // Where rounding lets the walk run past the end, the last index that has any weight is meant.
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds).
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_draw_depends_on_seed_position_step_and_index_alone() {
        let take = |key: Key, position, step| {
            let mut draws = key.at(position, step);
            [draws.next_u64(), draws.next_u64(), draws.next_u64()]
        };
        let here = take(Key::new(1), 2, 3);
        assert_eq!(here, take(Key::new(1), 2, 3));
        let elsewhere = [
            take(Key::new(2), 2, 3),
            take(Key::new(1), 3, 3),
            take(Key::new(1), 2, 4),
            take(Key::new(1), 3, 2),
            take(Key::new(1).fold(0), 2, 3),
        ];
        for (index, other) in elsewhere.iter().enumerate() {
            assert!(here.iter().all(|bits| !other.contains(bits)), "case {index} shares bits");
        }
        assert!(here[0] != here[1] && here[1] != here[2]);
    }
}
