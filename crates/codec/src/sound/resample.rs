//! Sounds at another rate.

use super::Sound;
use crate::CodecError;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};
use std::ops::RangeInclusive;

/// Samples of a second that a sound may have.
pub const RATES: RangeInclusive<u32> = 1000..=384_000;
/// At least so many samples are transformed at once.
const CHUNK: usize = 256;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;

impl Sound {
    /// The sound at another rate, without what that rate cannot carry.
    ///
    /// # Errors
    /// When the rate is none of [`RATES`].
    pub fn resampled(&self, rate: u32) -> Result<Self, CodecError> {
        if rate == self.rate {
            return Ok(self.clone());
        }
        let refused = |reason: String| CodecError::Resampling { from: self.rate, to: rate, reason };
        if !RATES.contains(&rate) {
            return Err(refused(format!("allowed: {} to {}", RATES.start(), RATES.end())));
        }
        let (from, to) = (self.rate as usize, rate as usize);
        let length = self.samples.len();
        let input = InterleavedSlice::new(&self.samples[..], 1, length).map_err(|error| refused(error.to_string()))?;
        // The filter delays by half of what is transformed: an even number of samples, or the sound would be late by half of
        // one.
        let chunk = CHUNK.next_multiple_of(2 * from / divisor(from, to));
        let resampler = Fft::<f32>::new_custom(from, to, chunk, 1, 1, WINDOW, FixedSync::Input);
        let mut resampler = resampler.map_err(|error| refused(error.to_string()))?;
        let resampled = resampler.process_all(&input, length, None).map_err(|error| refused(error.to_string()))?;
        let mut samples = resampled.take_data();
        // A sound shorter than a sample of the other rate is one sample.
        if samples.is_empty() {
            samples.push(0.0);
        }
        Ok(Self { rate, samples })
    }
}

/// The greatest common divisor, by Euclid's algorithm.
fn divisor(mut one: usize, mut other: usize) -> usize {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(rate: u32, hertz: f64, length: usize) -> Vec<f32> {
        (0..length).map(|n| (TAU * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    #[test]
    fn a_tone_stays_the_same_tone_and_what_is_too_high_goes() {
        for (from, to) in [(44_100, 8000), (8000, 48_000), (16_000, 8000), (11_025, 8000)] {
            let sound = Sound::new(from, tone(from, 440.0, from as usize / 2)).unwrap();
            let other = sound.resampled(to).unwrap();
            assert!((other.seconds() - 0.5).abs() < 0.01, "{from} to {to}: {} s", other.seconds());
            let expected = tone(to, 440.0, other.samples().len());
            // The ends are those of a sound that begins and stops at once.
            let middle = to as usize / 8..to as usize * 3 / 8;
            for at in middle {
                assert!((other.samples()[at] - expected[at]).abs() < 0.02, "{from} to {to}, {at}");
            }
        }
        let high = Sound::new(16_000, tone(16_000, 6000.0, 8000)).unwrap().resampled(8000).unwrap();
        assert!(high.samples()[1000..3000].iter().all(|sample| sample.abs() < 0.02));
    }

    #[test]
    fn the_shortest_sounds_and_odd_rates_are_resampled_and_impossible_rates_refused() {
        for (rate, length) in [(384_000, 1), (8001, 3), (1009, 2)] {
            let sound = Sound::new(rate, vec![0.5; length]).unwrap().resampled(8000).unwrap();
            assert!(sound.rate() == 8000 && !sound.samples().is_empty());
        }
        let error = Sound::new(8000, vec![0.5]).unwrap().resampled(7).unwrap_err().to_string();
        assert_eq!(error, "a sound of 8000 samples a second cannot become one of 7: allowed: 1000 to 384000");
    }
}
