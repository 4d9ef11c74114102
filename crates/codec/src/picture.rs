//! Pictures: pixels in memory, read from files, fitted into a square, written as PNG.

mod file;
mod fit;

pub use file::{LONGEST_SIDE, MOST_PIXELS};

/// A picture in memory: RGBA of 8 bits, colour not multiplied by alpha, row after row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 4]>,
}

/// Channels of a pixel.
pub(crate) const CHANNELS: usize = 4;

impl Picture {
    /// These pixels; `None` where there are not as many as the sides say.
    pub fn new(width: usize, height: usize, pixels: Vec<[u8; 4]>) -> Option<Self> {
        (pixels.len() == width.checked_mul(height)?).then_some(Self { width, height, pixels })
    }

    /// Columns of pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row after row.
    pub fn pixels(&self) -> &[[u8; 4]] {
        &self.pixels
    }

    /// The pixels as numbers from 0 to 1 with colour multiplied by alpha: what lies under a transparent pixel does not
    /// count.
    pub fn premultiplied(&self) -> Vec<[f32; 4]> {
        self.pixels.iter().map(|&pixel| premultiplied(pixel)).collect()
    }

    /// A picture of such numbers, each brought into its range: alpha into `[0, 1]`, colour into `[0, alpha]`; `None` where
    /// there are not as many pixels as the sides say.
    pub fn from_premultiplied(width: usize, height: usize, pixels: &[[f32; 4]]) -> Option<Self> {
        Self::new(width, height, pixels.iter().map(|&pixel| straight(pixel)).collect())
    }

    /// The picture with some places of a grid from another one of the same size: those that are `taken`, row after row.
    /// `None` where the sizes differ, the grid does not divide them, or another number of places is named.
    #[must_use]
    pub fn patched(&self, other: &Self, [rows, columns]: [usize; 2], taken: &[bool]) -> Option<Self> {
        let (width, height) = (self.width, self.height);
        let fits = rows > 0 && columns > 0 && width.is_multiple_of(columns) && height.is_multiple_of(rows);
        if !fits || (other.width, other.height) != (width, height) || taken.len() != rows * columns {
            return None;
        }
        let mut pixels = self.pixels.clone();
        for (index, pixel) in pixels.iter_mut().enumerate() {
            let (row, column) = (index / width / (height / rows), index % width / (width / columns));
            if taken[row * columns + column] {
                *pixel = other.pixels[index];
            }
        }
        Some(Self { width, height, pixels })
    }

    /// The picture from left to right.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let rows = self.pixels.chunks_exact(self.width.max(1));
        let pixels = rows.flat_map(|row| row.iter().rev().copied()).collect();
        Self { pixels, ..*self }
    }

    /// The picture so many pixels further right and down; what leaves it is lost, what enters is transparent.
    #[must_use]
    pub fn shifted(&self, right: isize, down: isize) -> Self {
        let at = |x: usize, y: usize| {
            let (x, y) = (x.checked_add_signed(-right)?, y.checked_add_signed(-down)?);
            (x < self.width && y < self.height).then(|| self.pixels[y * self.width + x])
        };
        let places = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| at(x, y).unwrap_or_default()).collect();
        Self { pixels, ..*self }
    }
}

fn premultiplied([red, green, blue, alpha]: [u8; 4]) -> [f32; 4] {
    let share = f32::from(alpha) / 255.0;
    let colour = |value: u8| f32::from(value) / 255.0 * share;
    [colour(red), colour(green), colour(blue), share]
}

fn straight([red, green, blue, alpha]: [f32; 4]) -> [u8; 4] {
    let byte = |value: f32| (value * 255.0).round() as u8;
    let alpha = alpha.clamp(0.0, 1.0);
    if byte(alpha) == 0 {
        return [0; 4];
    }
    let colour = |value: f32| byte((value / alpha).clamp(0.0, 1.0));
    [colour(red), colour(green), colour(blue), byte(alpha)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_the_pixels_they_were() {
        let pixels = vec![[255, 0, 3, 255], [90, 120, 7, 128], [10, 20, 30, 0], [1, 2, 3, 200]];
        let picture = Picture::new(2, 2, pixels.clone()).unwrap();
        let back = Picture::from_premultiplied(2, 2, &picture.premultiplied()).unwrap();
        // Under alpha 0 there is no colour.
        assert_eq!(back.pixels(), [pixels[0], pixels[1], [0; 4], pixels[3]]);
        let wild = Picture::from_premultiplied(1, 1, &[[-1.0, f32::NAN, 9.0, 1.5]]).unwrap();
        assert_eq!(wild.pixels(), [[0, 0, 255, 255]]);
        assert!(Picture::new(2, 2, vec![[0; 4]; 3]).is_none() && Picture::new(usize::MAX, 2, Vec::new()).is_none());
    }

    #[test]
    fn places_of_a_grid_are_taken_from_another_picture() {
        let of = |value: u8| Picture::new(4, 6, vec![[value; 4]; 24]).unwrap();
        let taken = [false, true, false, false, true, false];
        let patched = of(1).patched(&of(2), [3, 2], &taken).unwrap();
        for (index, pixel) in patched.pixels().iter().enumerate() {
            let place = index / 4 / 2 * 2 + index % 4 / 2;
            assert_eq!(*pixel, if taken[place] { [2; 4] } else { [1; 4] }, "{index}");
        }
        let small = Picture::new(2, 6, vec![[2; 4]; 12]).unwrap();
        assert_eq!(of(1).patched(&small, [3, 2], &taken), None);
        for (grid, places) in [([3, 2], 5), ([4, 2], 8), ([3, 3], 9), ([0, 2], 0), ([3, 0], 0)] {
            assert_eq!(of(1).patched(&of(2), grid, &vec![true; places]), None, "{grid:?}");
        }
    }

    #[test]
    fn mirrored_twice_and_shifted_back_it_is_the_same_but_for_what_was_lost() {
        let pixels: Vec<[u8; 4]> = (0..12).map(|i| [i, 0, 0, 255]).collect();
        let picture = Picture::new(4, 3, pixels).unwrap();
        assert_eq!(picture.mirrored().pixels()[..4], [[3, 0, 0, 255], [2, 0, 0, 255], [1, 0, 0, 255], [0, 0, 0, 255]]);
        assert_eq!(picture.mirrored().mirrored(), picture);
        let shifted = picture.shifted(1, -1);
        assert_eq!(shifted.pixels()[..4], [[0; 4], [4, 0, 0, 255], [5, 0, 0, 255], [6, 0, 0, 255]]);
        assert_eq!(shifted.pixels()[8..], [[0; 4]; 4]);
    }
}
