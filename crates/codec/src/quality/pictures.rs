//! How well pictures come back.

use super::structure::similarity;
use super::{CodeCounts, Quality, Reconstruction};
use crate::Picture;
use serde::Serialize;

/// How well pictures came back from their codes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PictureFigures {
    /// Pictures measured.
    pub pictures: usize,
    /// Peak signal-to-noise ratio over white, in dB: of the mean squared error over all pictures.
    pub psnr: f64,
    /// The same of alpha.
    pub alpha_psnr: f64,
    /// Structural similarity of the luma over white (Wang et al., 2004), the mean over the pictures.
    pub ssim: f64,
    /// Share of the codes that occur at all.
    pub codes_used: f64,
    /// Perplexity of the codes: as many evenly used ones carry as much.
    pub code_perplexity: f64,
}

/// Collects what [`PictureFigures`] says.
#[derive(Debug)]
pub struct PictureQuality {
    pictures: usize,
    colour: f64,
    alpha: f64,
    pixels: f64,
    similarity: f64,
    codes: CodeCounts,
}

/// The number of decibels that a picture without any error is given.
const FLAWLESS: f64 = 99.0;

impl Quality for PictureQuality {
    type Samples = Picture;

    fn new(codes: usize) -> Self {
        let codes = CodeCounts::new(codes);
        Self { pictures: 0, colour: 0.0, alpha: 0.0, pixels: 0.0, similarity: 0.0, codes }
    }

    fn add(&mut self, original: &Picture, returned: &Picture, codes: &[u32]) {
        let (one, other) = (over_white(original), over_white(returned));
        let squares = one.iter().flatten().zip(other.iter().flatten()).map(|(a, b)| (a - b) * (a - b));
        self.colour += squares.sum::<f64>() / 3.0;
        let pairs = original.pixels().iter().zip(returned.pixels());
        self.alpha += pairs.map(|(a, b)| (f64::from(a[3]) - f64::from(b[3])).powi(2)).sum::<f64>();
        self.pixels += original.pixels().len() as f64;
        self.similarity += similarity(&luma(&one), &luma(&other), original.width());
        self.codes.add(codes);
        self.pictures += 1;
    }

    fn reconstruction(&self) -> Reconstruction {
        let decibels = |squares: f64| match squares > 0.0 {
            true => (10.0 * (255.0 * 255.0 * self.pixels / squares).log10()).min(FLAWLESS),
            false => FLAWLESS,
        };
        Reconstruction::Pictures(PictureFigures {
            pictures: self.pictures,
            psnr: decibels(self.colour),
            alpha_psnr: decibels(self.alpha),
            ssim: self.similarity / self.pictures.max(1) as f64,
            codes_used: self.codes.used(),
            code_perplexity: self.codes.perplexity(),
        })
    }
}

/// The colours over white, 0 to 255.
fn over_white(picture: &Picture) -> Vec<[f64; 3]> {
    let over = |&[red, green, blue, alpha]: &[u8; 4]| {
        let share = f64::from(alpha) / 255.0;
        [red, green, blue].map(|value| f64::from(value) * share + 255.0 * (1.0 - share))
    };
    picture.pixels().iter().map(over).collect()
}

/// Luma (ITU-R BT.601), 0 to 255.
fn luma(pixels: &[[f64; 3]]) -> Vec<f64> {
    pixels.iter().map(|[red, green, blue]| 0.299 * red + 0.587 * green + 0.114 * blue).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(grey: u8, alpha: u8) -> Picture {
        Picture::new(16, 16, vec![[grey, grey, grey, alpha]; 256]).unwrap()
    }

    fn figures(quality: &PictureQuality) -> PictureFigures {
        let Reconstruction::Pictures(figures) = quality.reconstruction() else { panic!("not of pictures") };
        figures
    }

    #[test]
    fn figures_of_known_pictures() {
        let mut quality = PictureQuality::new(8);
        quality.add(&plain(100, 255), &plain(100, 255), &[3; 4]);
        let same = figures(&quality);
        assert_eq!((same.psnr, same.alpha_psnr, same.ssim), (99.0, 99.0, 1.0));
        assert_eq!((same.codes_used, same.code_perplexity, same.pictures), (0.125, 1.0, 1));
        let mut quality = PictureQuality::new(8);
        quality.add(&plain(100, 255), &plain(110, 255), &[1, 2, 1, 2]);
        let off = figures(&quality);
        assert!((off.psnr - 28.1308).abs() < 1e-3, "{off:?}");
        assert!((off.code_perplexity - 2.0).abs() < 1e-9);
        assert_eq!(off.alpha_psnr, 99.0);
        let mut quality = PictureQuality::new(8);
        quality.add(&plain(0, 255), &plain(0, 245), &[]);
        assert!((figures(&quality).alpha_psnr - 28.1308).abs() < 1e-3);
        // What lies under alpha 0 does not count.
        let mut quality = PictureQuality::new(8);
        quality.add(&plain(100, 0), &plain(200, 0), &[]);
        assert_eq!(figures(&quality).psnr, 99.0);
    }
}
