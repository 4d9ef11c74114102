//! Sounds that are known, and which of them another is nearest to: whether it says what it should.
//!
//! Sounds of unlike lengths are compared along their best alignment in time (dynamic time warping: Sakoe & Chiba, IEEE
//! Transactions on Acoustics, Speech, and Signal Processing 26(1), 1978: symmetric form, without a slope constraint), with
//! log-mel frames in place of the paper's spectra.

use std::collections::HashMap;

/// Log-mel frames of a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Numbers of a frame.
    pub bands: usize,
    /// `[frames, bands]`.
    pub values: Vec<f32>,
}

/// How far from the diagonal an alignment goes, as a share of the longer sound.
const REACH: f64 = 0.25;

impl Frames {
    /// How many there are.
    fn count(&self) -> usize {
        self.values.len() / self.bands.max(1)
    }

    fn frame(&self, index: usize) -> &[f32] {
        &self.values[index * self.bands..][..self.bands]
    }

    /// The distance of two sounds along their best alignment: the mean of the root mean squared differences of the frames
    /// that are aligned. Infinite where one has no frames or they have other bands.
    pub fn distance(&self, other: &Self) -> f64 {
        let (rows, columns) = (self.count(), other.count());
        if rows == 0 || columns == 0 || self.bands != other.bands {
            return f64::INFINITY;
        }
        let local = |row: usize, column: usize| {
            let squares = self.frame(row).iter().zip(other.frame(column)).map(|(a, b)| (a - b) * (a - b));
            f64::from(squares.sum::<f32>() / self.bands as f32).sqrt()
        };
        let reach = (REACH * rows.max(columns) as f64).ceil();
        let slope = columns as f64 / rows as f64;
        let mut before = vec![f64::INFINITY; columns];
        for row in 0..rows {
            let mut sums = vec![f64::INFINITY; columns];
            // Wide enough that both corners lie in it, and neighbouring rows overlap.
            let middle = row as f64 * slope;
            let first = (middle - reach - slope).floor().max(0.0) as usize;
            let last = ((middle + reach + slope).ceil() as usize).min(columns - 1);
            for column in first..=last {
                let cost = local(row, column);
                let from = |sum: f64, times: f64| sum + times * cost;
                let diagonal = match (row, column) {
                    (0, 0) => 0.0,
                    (0, _) | (_, 0) => f64::INFINITY,
                    _ => before[column - 1],
                };
                let left = if column > 0 { sums[column - 1] } else { f64::INFINITY };
                sums[column] = from(diagonal, 2.0).min(from(before[column], 1.0)).min(from(left, 1.0));
            }
            before = sums;
        }
        before[columns - 1] / (rows + columns) as f64
    }
}

/// Sounds, each with its file and the words that it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SoundCatalogue {
    sounds: Vec<KnownSound>,
    /// How many sounds say these words.
    words: HashMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct KnownSound {
    file: String,
    words: String,
    frames: Frames,
}

/// The sound of a catalogue that is nearest to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearestSound<'a> {
    /// Its file.
    pub file: &'a str,
    /// What it says.
    pub words: &'a str,
    /// How far it is away; see [`Frames::distance`].
    pub distance: f64,
}

impl SoundCatalogue {
    /// Adds a sound.
    pub fn add(&mut self, file: &str, words: &str, frames: Frames) {
        *self.words.entry(words.to_owned()).or_default() += 1;
        self.sounds.push(KnownSound { file: file.to_owned(), words: words.to_owned(), frames });
    }

    /// How many sounds there are.
    pub fn len(&self) -> usize {
        self.sounds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sounds.is_empty()
    }

    /// Whether the sound of a file is among them.
    pub fn has(&self, file: &str) -> bool {
        self.sounds.iter().any(|known| known.file == file)
    }

    /// How often another sound than one of them, drawn from the rest, says the same as it: 0 where none does.
    pub fn chance(&self, words: &str) -> f64 {
        let others = self.words.get(words).copied().unwrap_or_default().saturating_sub(1);
        others as f64 / self.len().saturating_sub(1).max(1) as f64
    }

    /// The nearest sound of another file, of equals the first.
    pub fn nearest(&self, frames: &Frames, except: &str) -> Option<NearestSound<'_>> {
        let others = self.sounds.iter().filter(|known| known.file != except);
        let found = others.map(|known| (known, known.frames.distance(frames)));
        let (known, distance) = found.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some(NearestSound { file: &known.file, words: &known.words, distance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(values: &[f32]) -> Frames {
        Frames { bands: 1, values: values.to_vec() }
    }

    #[test]
    fn what_is_said_slower_is_the_same() {
        let word = line(&[0.0, 1.0, -1.0, 0.5]);
        assert_eq!(word.distance(&line(&[0.0, 0.0, 1.0, 1.0, -1.0, 0.5, 0.5])), 0.0);
        assert!(word.distance(&line(&[0.0, -1.0, 1.0, 0.5])) > 0.1);
        assert_eq!(line(&[1.0]).distance(&line(&[3.0, 3.0])), 2.0);
        assert_eq!(word.distance(&line(&[])), f64::INFINITY);
        assert_eq!(word.distance(&Frames { bands: 2, values: vec![0.0; 4] }), f64::INFINITY);
    }

    #[test]
    fn the_nearest_is_another_file() {
        let mut catalogue = SoundCatalogue::default();
        assert!(catalogue.is_empty() && catalogue.nearest(&line(&[0.0]), "").is_none());
        for (file, words, at) in [("a", "fox", 0.0), ("b", "fox", 0.5), ("c", "owl", 0.2)] {
            catalogue.add(file, words, line(&[at]));
        }
        assert_eq!((catalogue.len(), catalogue.chance("fox"), catalogue.chance("owl")), (3, 0.5, 0.0));
        assert_eq!(catalogue.chance("cat"), 0.0);
        assert!(catalogue.has("c") && !catalogue.has("d"));
        let nearest = catalogue.nearest(&line(&[0.0]), "a").unwrap();
        assert_eq!((nearest.file, nearest.words), ("c", "owl"));
        assert!((nearest.distance - 0.2).abs() < 1e-6);
        assert_eq!(catalogue.nearest(&line(&[0.0]), "z").unwrap().file, "a");
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_finite_and_none_to_itself(
            one in prop::collection::vec(-1.0_f32..1.0, 1..24),
            other in prop::collection::vec(-1.0_f32..1.0, 1..24),
        ) {
            let (one, other) = (line(&one), line(&other));
            prop_assert_eq!(one.distance(&one), 0.0);
            let (there, back) = (one.distance(&other), other.distance(&one));
            prop_assert!(there.is_finite() && back.is_finite(), "{} {}", there, back);
            // The best alignment is no worse than the even one for equal lengths.
            if one.values.len() == other.values.len() {
                let even = one.values.iter().zip(&other.values).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
                prop_assert!(there <= even / one.values.len() as f64 + 1e-6);
                prop_assert!((there - back).abs() < 1e-9);
            }
        }
    }
}
