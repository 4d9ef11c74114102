//! Between the pixels of a square picture and the rows of an autoencoder: one patch for each place of a grid.
//!
//! A patch reaches over its neighbours by `overlap` pixels on each side. What is read of the pixels that two patches share
//! is the same; what is given back for them is blended, with shares that rise evenly from one patch to the next and add up
//! to 1, so that no seam shows where patches meet. Numbers are `2 v − 1` for `v` in `[0, 1]`, premultiplied.

use crate::picture::CHANNELS;
use aquatint_compute::Element;

/// How pictures are cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Patches {
    /// Pixels of a side of the picture.
    size: usize,
    /// Pixels of a side of a place of the grid.
    side: usize,
    overlap: usize,
    /// What a patch counts in each pixel of its side: at the beginning of the picture, in it, at its end.
    shares: [Vec<f64>; 3],
}

impl Patches {
    /// Patches of `side` pixels that reach over their neighbours by `overlap`; `None` where `side` does not divide `size`
    /// or is less than twice the overlap.
    pub fn new(size: usize, side: usize, overlap: usize) -> Option<Self> {
        if size == 0 || side == 0 || !size.is_multiple_of(side) || 2 * overlap > side {
            return None;
        }
        let window = side + 2 * overlap;
        let rise = |place: usize| ((place as f64 + 0.5) / (2 * overlap).max(1) as f64).min(1.0);
        let share = |place: usize, first: bool, last: bool| {
            let before = if first { 1.0 } else { rise(place) };
            let behind = if last { 1.0 } else { rise(window - 1 - place) };
            if overlap == 0 { 1.0 } else { before.min(behind) }
        };
        let shares = |first, last| (0..window).map(|place| share(place, first, last)).collect();
        Some(Self { size, side, overlap, shares: [shares(true, false), shares(false, false), shares(false, true)] })
    }

    /// Places along each side of the picture.
    pub fn grid(&self) -> usize {
        self.size / self.side
    }

    /// Pixels of a side of a patch.
    fn window(&self) -> usize {
        self.side + 2 * self.overlap
    }

    /// Numbers of a patch.
    pub fn columns(&self) -> usize {
        self.window() * self.window() * CHANNELS
    }

    /// Numbers of all patches of a picture.
    pub fn len(&self) -> usize {
        self.grid() * self.grid() * self.columns()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls with each pixel that a patch has in the picture: where its numbers begin among those of all patches, its
    /// place in the picture, and what the patch counts in it.
    fn each(&self, mut visit: impl FnMut(usize, usize, f64)) {
        let (grid, window) = (self.grid(), self.window());
        let shares = |place: usize| match place {
            // A single patch has no neighbour.
            _ if grid == 1 => None,
            0 => Some(&self.shares[0]),
            place if place + 1 == grid => Some(&self.shares[2]),
            _ => Some(&self.shares[1]),
        };
        for place in 0..grid * grid {
            let (row, column) = (place / grid, place % grid);
            let (down, right) = (shares(row), shares(column));
            for y in 0..window {
                let Some(at_y) = (row * self.side + y).checked_sub(self.overlap).filter(|at| *at < self.size) else {
                    continue;
                };
                for x in 0..window {
                    let at_x = (column * self.side + x).checked_sub(self.overlap).filter(|at| *at < self.size);
                    let Some(at_x) = at_x else { continue };
                    let share = down.map_or(1.0, |shares| shares[y]) * right.map_or(1.0, |shares| shares[x]);
                    let first = place * self.columns() + (y * window + x) * CHANNELS;
                    visit(first, at_y * self.size + at_x, share);
                }
            }
        }
    }

    /// The patches of a picture of `size · size` pixels as rows, `[places, columns]`; what lies outside of it is
    /// transparent.
    pub fn cut(&self, pixels: &[[f32; 4]]) -> Vec<f32> {
        let mut rows = vec![-1.0; self.len()];
        self.each(|first, pixel, _| {
            for (row, value) in rows[first..first + CHANNELS].iter_mut().zip(pixels[pixel]) {
                *row = 2.0 * value - 1.0;
            }
        });
        rows
    }

    /// The pixels that rows give, `[places, columns]`, premultiplied.
    pub fn merge<E: Element>(&self, rows: &[E]) -> Vec<[f64; 4]> {
        let mut pixels = vec![[0.5; 4]; self.size * self.size];
        self.each(|first, pixel, share| {
            for (pixel, row) in pixels[pixel].iter_mut().zip(&rows[first..first + CHANNELS]) {
                *pixel += 0.5 * share * row.to_f64();
            }
        });
        pixels
    }

    /// Writes the gradient of rows, `[places, columns]`, from that of the pixels that they give.
    pub fn merge_backward<E: Element>(&self, d_pixels: &[[f64; 4]], d_rows: &mut [E]) {
        d_rows.fill(E::default());
        self.each(|first, pixel, share| {
            for (d_row, d_pixel) in d_rows[first..first + CHANNELS].iter_mut().zip(d_pixels[pixel]) {
                *d_row = E::from_f64(0.5 * share * d_pixel);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn impossible_patches_are_none() {
        for (size, side, overlap) in [(0, 1, 0), (8, 0, 0), (8, 3, 0), (8, 4, 3)] {
            assert_eq!(Patches::new(size, side, overlap), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_merged_to_what_it_was(side in 1..9_usize, grid in 1..5_usize, overlap in 0..5_usize, seed: u64) {
            let patches = Patches::new(side * grid, side, overlap.min(side / 2)).unwrap();
            let value = |i: usize| ((seed >> 3).wrapping_add(i as u64 * 7919) % 97) as f32 / 96.0;
            let pixels: Vec<[f32; 4]> =
                (0..side * side * grid * grid).map(|i| [value(i), value(i + 1), value(2 * i), value(3 * i)]).collect();
            let rows = patches.cut(&pixels);
            prop_assert_eq!(rows.len(), patches.len());
            let merged = patches.merge(&rows);
            for (merged, pixel) in merged.iter().flatten().zip(pixels.iter().flatten()) {
                prop_assert!((merged - f64::from(*pixel)).abs() < 1e-5);
            }
            // The backward is the transpose of the forward: ⟨merge(r), p⟩ = ⟨r, merge_backward(p)⟩ but for the constant.
            let d_pixels: Vec<[f64; 4]> = pixels.iter().map(|pixel| pixel.map(f64::from)).collect();
            let mut d_rows = vec![0.0_f64; rows.len()];
            patches.merge_backward(&d_pixels, &mut d_rows);
            let flat = |pixels: &[[f64; 4]]| pixels.iter().flatten().copied().collect::<Vec<f64>>();
            let left: f64 = flat(&merged).iter().zip(flat(&d_pixels)).map(|(m, p)| (m - 0.5) * p).sum();
            let right: f64 = rows.iter().zip(&d_rows).map(|(r, d)| f64::from(*r) * d).sum();
            prop_assert!((left - right).abs() < 1e-3 * (1.0 + left.abs()), "{left} and {right}");
        }
    }
}
