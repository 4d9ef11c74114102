//! Sounds of spectra without phases: the fast algorithm of Griffin and Lim (Perraudin, Balazs & Søndergaard, IEEE Workshop
//! on Applications of Signal Processing to Audio and Acoustics, 2013).

use super::Spectra;
use aquatint_diffusion::Key;
use realfft::num_complex::Complex32;

/// How phases are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GriffinLim {
    /// How often spectra become a sound and the sound spectra.
    pub(crate) iterations: usize,
    /// `α`: how far each iteration goes on in the direction of the last; 0 for the algorithm of 1984.
    pub(crate) momentum: f32,
}

/// What the first phases are drawn from: the same spectra always give the same sound.
const SEED: u64 = 0;

impl GriffinLim {
    /// A sound of so many samples whose spectra have about these magnitudes, `[frames, bins]`.
    pub(crate) fn sound(self, spectra: &Spectra, magnitudes: &[f32], length: usize) -> Vec<f32> {
        let frames = magnitudes.len() / spectra.bins();
        let mut draws = Key::new(SEED).at(0, 0);
        let mut phase = || std::f32::consts::TAU * draws.uniform() as f32;
        let mut guess: Vec<Complex32> =
            magnitudes.iter().map(|&magnitude| Complex32::from_polar(magnitude, phase())).collect();
        let mut last = vec![Complex32::default(); guess.len()];
        for _ in 0..self.iterations {
            let found = spectra.of(&spectra.sound(&guess, length), frames);
            for (((guess, last), found), &magnitude) in guess.iter_mut().zip(&mut last).zip(found).zip(magnitudes) {
                let ahead = found + (found - *last) * self.momentum;
                let norm = ahead.norm();
                *guess = if norm > 1e-20 { ahead * (magnitude / norm) } else { Complex32::new(magnitude, 0.0) };
                *last = found;
            }
        }
        spectra.sound(&guess, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::SpectraSpec;

    #[test]
    fn magnitudes_of_a_sound_are_found_again_and_more_iterations_come_nearer() {
        let spectra = Spectra::new(SpectraSpec { window: 256, hop: 50 });
        let tone = |n: usize, hertz: f64| (std::f64::consts::TAU * n as f64 * hertz / 8000.0).sin();
        let sound: Vec<f32> = (0..2000).map(|n| (0.4 * tone(n, 330.0) + 0.2 * tone(n, 1210.0)) as f32).collect();
        let magnitudes: Vec<f32> = spectra.of(&sound, 40).iter().map(|number| number.norm()).collect();
        let error = |iterations| {
            let back = GriffinLim { iterations, momentum: 0.99 }.sound(&spectra, &magnitudes, sound.len());
            let found = spectra.of(&back, 40);
            let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
            let off = squares(&mut found.iter().zip(&magnitudes).map(|(found, wanted)| found.norm() - wanted));
            (off / squares(&mut magnitudes.iter().copied())).sqrt()
        };
        let (few, many) = (error(2), error(60));
        assert!(many < 0.1 && many < 0.5 * few, "{few} and {many}");
    }
}
