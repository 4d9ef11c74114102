//! Fitting a picture into a square: scaled as a whole, with transparent borders, never stretched.
//!
//! Each pixel that is made is the average of the area that it covers, in premultiplied colour. So a picture that is scaled
//! down has no moiré, one that is doubled keeps hard edges, and the colour of transparent pixels never shows.

use super::{Picture, premultiplied, straight};

/// The pixels that one pixel of the scaled side covers, with the share of each.
struct Covered {
    first: usize,
    shares: Vec<f32>,
}

impl Picture {
    /// The picture in a square of `size` pixels. A picture of that size stays as it is, but that no colour lies under
    /// alpha 0.
    #[must_use]
    pub fn fitted(&self, size: usize) -> Self {
        let rows = self.pixels.chunks_exact(self.width.max(1));
        Self::scaled(rows.map(<[[u8; 4]]>::to_vec), (self.width, self.height), size).centred(size)
    }

    /// The picture of these rows, so large that its longest side has `size` pixels; nothing where one of them has none. One
    /// row is needed at a time.
    pub(super) fn scaled(
        rows_of: impl Iterator<Item = Vec<[u8; 4]>>,
        (width, height): (usize, usize),
        size: usize,
    ) -> Self {
        let longest = width.max(height);
        if width == 0 || height == 0 || size == 0 {
            return Self { width: 0, height: 0, pixels: Vec::new() };
        }
        let scaled = |side: usize| ((side * size + longest / 2) / longest).clamp(1, size);
        let (columns, rows) = (cover(width, scaled(width)), cover(height, scaled(height)));
        let mut narrow: Vec<[f32; 4]> = Vec::with_capacity(height * columns.len());
        for row in rows_of {
            narrow.extend(columns.iter().map(|column| average(column, |place| premultiplied(row[place]))));
        }
        let of = |row: &Covered, x: usize| straight(average(row, |place| narrow[place * columns.len() + x]));
        let pixels = rows.iter().flat_map(|row| (0..columns.len()).map(move |x| of(row, x))).collect();
        Self { width: columns.len(), height: rows.len(), pixels }
    }

    /// The picture in the middle of a square of `size` pixels, which is at least as large.
    pub(super) fn centred(&self, size: usize) -> Self {
        let mut pixels = vec![[0; 4]; size * size];
        let (left, top) = ((size - self.width) / 2, (size - self.height) / 2);
        for (y, row) in self.pixels.chunks_exact(self.width.max(1)).enumerate() {
            pixels[(top + y) * size + left..][..self.width].copy_from_slice(row);
        }
        Self { width: size, height: size, pixels }
    }
}

fn average(covered: &Covered, at: impl Fn(usize) -> [f32; 4]) -> [f32; 4] {
    let mut sum = [0.0; 4];
    for (place, share) in (covered.first..).zip(&covered.shares) {
        sum.iter_mut().zip(at(place)).for_each(|(sum, value)| *sum += share * value);
    }
    sum
}

/// What each of `to` pixels covers of a side of `from`.
fn cover(from: usize, to: usize) -> Vec<Covered> {
    let scale = from as f64 / to as f64;
    let of = |index: usize| {
        let (begin, end) = (index as f64 * scale, ((index + 1) as f64 * scale).min(from as f64));
        let first = (begin as usize).min(from - 1);
        let last = (end.ceil() as usize).clamp(first + 1, from);
        let part = |place: usize| (end.min((place + 1) as f64) - begin.max(place as f64)).max(0.0) / (end - begin);
        Covered { first, shares: (first..last).map(|place| part(place) as f32).collect() }
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(width: usize, height: usize, pixel: [u8; 4]) -> Picture {
        Picture::new(width, height, vec![pixel; width * height]).unwrap()
    }

    #[test]
    fn sides_keep_their_ratio_and_the_rest_is_transparent() {
        let fitted = filled(200, 100, [10, 200, 30, 255]).fitted(64);
        for (place, pixel) in fitted.pixels().iter().enumerate() {
            let inside = (16..48).contains(&(place / 64));
            assert_eq!(*pixel, if inside { [10, 200, 30, 255] } else { [0; 4] }, "{place}");
        }
        // A line stays there, however thin.
        let line = filled(1, 5000, [255, 0, 0, 255]).fitted(8);
        assert_eq!(line.pixels().iter().filter(|pixel| pixel[3] == 255).count(), 8);
    }

    #[test]
    fn doubled_pixels_keep_hard_edges_and_hidden_colour_never_shows() {
        let pixels = vec![[255, 255, 255, 255], [255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 255, 255]];
        let doubled = Picture::new(2, 2, pixels).unwrap().fitted(4);
        assert_eq!(doubled.pixels()[0..4], [[255; 4], [255; 4], [0; 4], [0; 4]]);
        assert_eq!(doubled.pixels()[5], [255; 4]);
        let half = Picture::new(2, 1, vec![[0, 255, 0, 255], [255, 0, 0, 0]]).unwrap().fitted(1);
        assert_eq!(half.pixels(), [[0, 255, 0, 128]]);
    }

    proptest! {
        #[test]
        fn a_plain_picture_stays_plain(width in 1..90_usize, height in 1..90_usize, size in 1..40_usize, pixel: [u8; 4]) {
            let fitted = filled(width, height, [pixel[0], pixel[1], pixel[2], 255]).fitted(size);
            prop_assert_eq!((fitted.width(), fitted.height()), (size, size));
            for pixel_of in fitted.pixels().iter().filter(|pixel| pixel[3] > 0) {
                prop_assert_eq!(pixel_of[3], 255);
                for (found, given) in pixel_of.iter().zip(pixel).take(3) {
                    prop_assert!(found.abs_diff(given) <= 1);
                }
            }
        }
    }
}
