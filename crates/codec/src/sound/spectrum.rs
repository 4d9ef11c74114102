//! Short-time spectra: frames of a sound through a Hann window and a real Fourier transform, and back.

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

/// How frames are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpectraSpec {
    /// Samples of a frame, an even number.
    pub(crate) window: usize,
    /// Samples from one frame to the next; at most half of `window`, so that frames add up to the sound.
    pub(crate) hop: usize,
}

/// Takes sounds to spectra and back. The frame `k` lies around the middle of the samples from `k · hop` to
/// `(k + 1) · hop`; beyond the sound there is silence.
pub(crate) struct Spectra {
    spec: SpectraSpec,
    window: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl fmt::Debug for Spectra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spectra").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Spectra {
    pub(crate) fn new(spec: SpectraSpec) -> Self {
        let hann = |n: usize| (0.5 - 0.5 * (TAU * n as f64 / spec.window as f64).cos()) as f32;
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(spec.window), planner.plan_fft_inverse(spec.window));
        Self { spec, window: (0..spec.window).map(hann).collect(), forward, inverse }
    }

    /// Numbers of the spectrum of a frame.
    pub(crate) fn bins(&self) -> usize {
        self.spec.window / 2 + 1
    }

    /// Samples between frames.
    pub(crate) fn hop(&self) -> usize {
        self.spec.hop
    }

    /// What a full-scale sine's spectrum is multiplied by to be 1.
    pub(crate) fn scale(&self) -> f32 {
        2.0 / self.window.iter().sum::<f32>()
    }

    /// Where a frame begins; before the sound for the first ones.
    fn begin(&self, frame: usize) -> isize {
        (frame * self.spec.hop + self.spec.hop / 2) as isize - (self.spec.window / 2) as isize
    }

    /// The spectra of so many frames, `[frames, bins]`.
    pub(crate) fn of(&self, samples: &[f32], frames: usize) -> Vec<Complex32> {
        let (mut input, mut scratch) = (self.forward.make_input_vec(), self.forward.make_scratch_vec());
        let mut out = vec![Complex32::default(); frames * self.bins()];
        for (frame, spectrum) in out.chunks_exact_mut(self.bins()).enumerate() {
            let begin = self.begin(frame);
            for (n, (input, window)) in input.iter_mut().zip(&self.window).enumerate() {
                let at = begin.checked_add_unsigned(n).and_then(|at| usize::try_from(at).ok());
                *input = at.and_then(|at| samples.get(at)).map_or(0.0, |sample| sample * window);
            }
            let done = self.forward.process_with_scratch(&mut input, spectrum, &mut scratch);
            done.expect("buffers were made by the plan itself");
        }
        out
    }

    /// The sound of so many samples whose spectra are nearest to these (Griffin & Lim, IEEE Transactions on Acoustics,
    /// Speech, and Signal Processing 32(2), 1984, equation 6): windowed frames added up, over the sum of squared windows.
    pub(crate) fn sound(&self, spectra: &[Complex32], length: usize) -> Vec<f32> {
        let (mut spectrum, mut scratch) = (self.inverse.make_input_vec(), self.inverse.make_scratch_vec());
        let mut frame_of = self.inverse.make_output_vec();
        let (mut sum, mut squares) = (vec![0.0_f32; length], vec![0.0_f32; length]);
        let size = 1.0 / self.spec.window as f32;
        for (frame, given) in spectra.chunks_exact(self.bins()).enumerate() {
            spectrum.copy_from_slice(given);
            // The first and the last number of the spectrum of real samples are real.
            for end in [0, self.bins() - 1] {
                spectrum[end].im = 0.0;
            }
            let done = self.inverse.process_with_scratch(&mut spectrum, &mut frame_of, &mut scratch);
            done.expect("buffers were made by the plan itself, and the ends are real");
            let begin = self.begin(frame);
            for (n, (value, window)) in frame_of.iter().zip(&self.window).enumerate() {
                let at = begin.checked_add_unsigned(n).and_then(|at| usize::try_from(at).ok());
                if let Some(at) = at.filter(|at| *at < length) {
                    sum[at] += value * size * window;
                    squares[at] += window * window;
                }
            }
        }
        // Where no window reaches there is nothing to divide.
        sum.iter().zip(&squares).map(|(sum, squares)| sum / squares.max(1e-8)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_comes_back_from_its_spectra() {
        for (window, hop) in [(256, 50), (64, 32), (16, 5)] {
            let spectra = Spectra::new(SpectraSpec { window, hop });
            let sound: Vec<f32> = (0..40 * hop).map(|n| ((n * 31 + n * n * 7) % 97) as f32 / 48.0 - 1.0).collect();
            let back = spectra.sound(&spectra.of(&sound, 40), sound.len());
            for (n, (back, sound)) in back.iter().zip(&sound).enumerate() {
                assert!((back - sound).abs() < 1e-3, "{window}, {hop}: {back} at {n}, expected {sound}");
            }
        }
    }

    #[test]
    fn a_full_scale_sine_has_one_at_its_place() {
        let spectra = Spectra::new(SpectraSpec { window: 256, hop: 64 });
        let sine: Vec<f32> = (0..2048).map(|n| (TAU * f64::from(n) * 32.0 / 256.0).sin() as f32).collect();
        let spectrum = &spectra.of(&sine, 32)[16 * 129..17 * 129];
        let magnitude: Vec<f32> = spectrum.iter().map(|number| number.norm() * spectra.scale()).collect();
        assert!((magnitude[32] - 1.0).abs() < 1e-3 && magnitude[40] < 1e-3, "{} {}", magnitude[32], magnitude[40]);
    }
}
