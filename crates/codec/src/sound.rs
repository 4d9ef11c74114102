//! Sounds: samples in memory, read from files, resampled, written as WAV; their spectra, and sounds of spectra.

mod file;
mod griffin_lim;
mod mel;
mod resample;
mod spectrum;

pub use file::{MOST_SAMPLES, MOST_SECONDS};
pub(crate) use griffin_lim::GriffinLim;
pub(crate) use mel::MelBank;
pub use resample::RATES;
pub(crate) use spectrum::{Spectra, SpectraSpec};

/// A sound in memory: one channel, samples from −1 to 1 where it is not overdriven, all of them finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    rate: u32,
    samples: Vec<f32>,
}

impl Sound {
    /// These samples, `rate` of them a second; `None` where the rate is none of [`RATES`], there are no samples, or one of
    /// them is not finite.
    pub fn new(rate: u32, samples: Vec<f32>) -> Option<Self> {
        let fits = RATES.contains(&rate) && !samples.is_empty() && samples.iter().all(|sample| sample.is_finite());
        fits.then_some(Self { rate, samples })
    }

    /// Samples of a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// How long it is.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// The sound louder by a factor, behind so many samples of silence.
    #[must_use]
    pub fn varied(&self, factor: f32, later: usize) -> Self {
        let louder = self.samples.iter().map(|sample| sample * factor);
        Self { rate: self.rate, samples: std::iter::repeat_n(0.0, later).chain(louder).collect() }
    }

    /// The sound with silence behind it, so that a whole number of `part` samples is there.
    #[must_use]
    pub fn padded(&self, part: usize) -> Self {
        let mut samples = self.samples.clone();
        samples.resize(samples.len().next_multiple_of(part.max(1)), 0.0);
        Self { rate: self.rate, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sound_is_none() {
        for (rate, samples) in
            [(8000, vec![]), (8000, vec![0.0, f32::NAN]), (8000, vec![f32::INFINITY]), (7, vec![0.0])]
        {
            assert_eq!(Sound::new(rate, samples), None);
        }
    }

    #[test]
    fn varied_and_padded_it_has_all_its_samples() {
        let sound = Sound::new(8000, vec![1.0, 2.0, 3.0]).unwrap();
        assert_eq!(sound.varied(0.5, 1).samples(), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!(sound.padded(2).samples(), [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(sound.padded(3), sound);
        assert_eq!(sound.seconds(), 3.0 / 8000.0);
    }
}
