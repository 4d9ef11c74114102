//! How well sounds come back.

use super::{CodeCounts, Quality, Reconstruction};
use crate::Sound;
use crate::sound::{Spectra, SpectraSpec};
use serde::Serialize;

/// How well sounds came back from their codes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SoundFigures {
    /// Sounds measured.
    pub sounds: usize,
    /// Seconds of them.
    pub seconds: f64,
    /// Log-spectral distance in dB (Gray & Markel, IEEE Transactions on Acoustics, Speech, and Signal Processing 24(5),
    /// 1976): the root of the mean squared difference of the levels of a frame's spectrum, the mean over all frames. Levels
    /// below −80 dB count as −80 dB; frames are of 32 ms, one every 8 ms.
    pub log_spectral_distance: f64,
    /// Share of the codes that occur at all.
    pub codes_used: f64,
    /// Perplexity of the codes: as many evenly used ones carry as much.
    pub code_perplexity: f64,
}

/// Collects what [`SoundFigures`] says.
#[derive(Debug)]
pub struct SoundQuality {
    sounds: usize,
    seconds: f64,
    distance: f64,
    frames: usize,
    codes: CodeCounts,
    /// For sounds of the rate that came last.
    spectra: Option<(u32, Spectra)>,
}

/// Power below which it is silent.
const FLOOR: f64 = 1e-8;
/// Frames of a second.
const FRAMES: u32 = 125;

impl Quality for SoundQuality {
    type Samples = Sound;

    fn new(codes: usize) -> Self {
        let codes = CodeCounts::new(codes);
        Self { sounds: 0, seconds: 0.0, distance: 0.0, frames: 0, codes, spectra: None }
    }

    fn add(&mut self, original: &Sound, returned: &Sound, codes: &[u32]) {
        let rate = original.rate();
        let spectra = match self.spectra.take_if(|(of, _)| *of == rate) {
            Some((_, spectra)) => spectra,
            None => {
                let hop = rate.div_ceil(FRAMES) as usize;
                Spectra::new(SpectraSpec { window: 4 * hop, hop })
            }
        };
        let frames = original.samples().len().div_ceil(spectra.hop());
        let scale = f64::from(spectra.scale()).powi(2);
        let levels = |sound: &Sound| {
            let spectra = spectra.of(sound.samples(), frames).into_iter();
            spectra.map(|value| 10.0 * (scale * f64::from(value.norm_sqr()) + FLOOR).log10()).collect::<Vec<f64>>()
        };
        let (one, other) = (levels(original), levels(returned));
        for (one, other) in one.chunks_exact(spectra.bins()).zip(other.chunks_exact(spectra.bins())) {
            let squares: f64 = one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum();
            self.distance += (squares / spectra.bins() as f64).sqrt();
        }
        self.frames += frames;
        self.sounds += 1;
        self.seconds += original.seconds();
        self.codes.add(codes);
        self.spectra = Some((rate, spectra));
    }

    fn reconstruction(&self) -> Reconstruction {
        Reconstruction::Sounds(SoundFigures {
            sounds: self.sounds,
            seconds: self.seconds,
            log_spectral_distance: self.distance / self.frames.max(1) as f64,
            codes_used: self.codes.used(),
            code_perplexity: self.codes.perplexity(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(quality: &SoundQuality) -> SoundFigures {
        let Reconstruction::Sounds(figures) = quality.reconstruction() else { panic!("not of sounds") };
        figures
    }

    #[test]
    fn figures_of_known_sounds() {
        let noise: Vec<f32> = (0..4000_u64).map(|n| ((n * n * 31 + n * 7) % 1009) as f32 / 504.5 - 1.0).collect();
        let sound = |factor: f32| Sound::new(8000, noise.iter().map(|sample| sample * factor).collect()).unwrap();
        let mut quality = SoundQuality::new(8);
        quality.add(&sound(0.5), &sound(0.5), &[3, 3]);
        let same = figures(&quality);
        assert_eq!((same.log_spectral_distance, same.codes_used, same.sounds, same.seconds), (0.0, 0.125, 1, 0.5));
        // A tenth of the amplitude is 20 dB less everywhere.
        let mut quality = SoundQuality::new(8);
        quality.add(&sound(1.0), &sound(0.1), &[1, 2]);
        let off = figures(&quality);
        assert!((off.log_spectral_distance - 20.0).abs() < 0.1, "{off:?}");
        assert!((off.code_perplexity - 2.0).abs() < 1e-9);
    }
}
