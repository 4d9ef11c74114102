//! Mel bands: the power of a spectrum averaged by triangles that lie evenly on the mel scale, and spectra of such bands.
//!
//! The scale is that of Slaney's Auditory Toolbox (Technical Report 1998-010): linear below 1000 Hz, logarithmic above.

/// A share of one number of the spectrum.
#[derive(Debug, Clone, Copy)]
struct Share {
    bin: usize,
    share: f32,
}

/// The triangles.
#[derive(Debug)]
pub(crate) struct MelBank {
    bins: usize,
    /// The numbers that each band averages, with shares that add up to 1.
    bands: Vec<Vec<Share>>,
}

/// Hertz of a mel where the scale is linear, the mel where that ends, and what a mel multiplies behind it.
const LINEAR: f64 = 200.0 / 3.0;
const BREAK: f64 = 1000.0 / LINEAR;
const STEPS_OF_OCTAVES: f64 = 27.0;
const OCTAVES: f64 = 6.4;

fn mel(hertz: f64) -> f64 {
    if hertz < 1000.0 { hertz / LINEAR } else { BREAK + STEPS_OF_OCTAVES * (hertz / 1000.0).ln() / OCTAVES.ln() }
}

fn hertz(mel: f64) -> f64 {
    if mel < BREAK { mel * LINEAR } else { 1000.0 * ((mel - BREAK) * OCTAVES.ln() / STEPS_OF_OCTAVES).exp() }
}

impl MelBank {
    /// So many bands over a spectrum of so many numbers, from 0 to half of `rate`. A triangle that reaches no number of the
    /// spectrum has the nearest one.
    pub(crate) fn new(bands: usize, bins: usize, rate: u32) -> Self {
        let top = f64::from(rate) / 2.0;
        let corner = |index: usize| hertz(mel(top) * index as f64 / (bands + 1) as f64);
        let of_bin = |bin: usize| top * bin as f64 / (bins - 1) as f64;
        let band = |band: usize| {
            let [low, middle, high] = [corner(band), corner(band + 1), corner(band + 2)];
            let height = |hertz: f64| ((hertz - low) / (middle - low)).min((high - hertz) / (high - middle)).max(0.0);
            let heights: Vec<(usize, f64)> = (0..bins).map(|bin| (bin, height(of_bin(bin)))).collect();
            let sum: f64 = heights.iter().map(|(_, height)| height).sum();
            if sum <= 0.0 {
                let bin = (middle / top * (bins - 1) as f64).round() as usize;
                return vec![Share { bin, share: 1.0 }];
            }
            let reached = heights.into_iter().filter(|(_, height)| *height > 0.0);
            reached.map(|(bin, height)| Share { bin, share: (height / sum) as f32 }).collect()
        };
        Self { bins, bands: (0..bands).map(band).collect() }
    }

    /// The power of each band.
    pub(crate) fn of<'a>(&'a self, power: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.bands.iter().map(|shares| shares.iter().map(|share| share.share * power[share.bin]).sum())
    }

    /// A spectrum of power, 0 or more, whose bands are about these: Richardson–Lucy iterations (W. H. Richardson, Journal
    /// of the Optical Society of America 62(1), 1972), which lower the Kullback–Leibler divergence of the bands.
    pub(crate) fn power(&self, bands: &[f32]) -> Vec<f32> {
        // Fewer leave quiet bands between loud ones too loud.
        const ITERATIONS: usize = 100;
        const LEAST: f32 = 1e-20;
        let spread = |of_bands: &[f32]| {
            let mut bins = vec![0.0; self.bins];
            for (shares, value) in self.bands.iter().zip(of_bands) {
                shares.iter().for_each(|share| bins[share.bin] += share.share * value);
            }
            bins
        };
        let weights = spread(&vec![1.0; bands.len()]);
        let divided = |bins: Vec<f32>| bins.into_iter().zip(&weights).map(|(bin, weight)| bin / weight.max(LEAST));
        let mut power: Vec<f32> = divided(spread(bands)).collect();
        for _ in 0..ITERATIONS {
            let ratios: Vec<f32> =
                self.of(&power).zip(bands).map(|(found, wanted)| wanted / found.max(LEAST)).collect();
            let factors: Vec<f32> = divided(spread(&ratios)).collect();
            power.iter_mut().zip(factors).for_each(|(power, factor)| *power *= factor);
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_its_own_inverse_and_bands_average() {
        for value in [0.0, 440.0, 999.0, 1000.0, 3999.0] {
            assert!((hertz(mel(value)) - value).abs() < 1e-9, "{value}");
        }
        for (bands, bins) in [(64, 129), (80, 65), (1, 3)] {
            let bank = MelBank::new(bands, bins, 8000);
            let plain: Vec<f32> = bank.of(&vec![0.25; bins]).collect();
            assert!(plain.len() == bands && plain.iter().all(|power| (power - 0.25).abs() < 1e-6), "{plain:?}");
        }
    }

    #[test]
    fn a_spectrum_of_bands_has_these_bands() {
        let bank = MelBank::new(64, 129, 8000);
        let power: Vec<f32> = (0..129).map(|bin| if bin % 7 == 3 { 1.0 } else { 1e-4 }).collect();
        let bands: Vec<f32> = bank.of(&power).collect();
        let found = bank.power(&bands);
        assert!(found.iter().all(|power| *power >= 0.0));
        for (found, wanted) in bank.of(&found).zip(&bands) {
            assert!((10.0 * (found / wanted).log10()).abs() < 1.0, "{found}, expected {wanted}");
        }
    }
}
