//! Pictures that a model was trained on, and which of them a made picture is nearest to: whether it shows what was asked for,
//! and whether it is more than a copy.

use std::collections::HashSet;

/// Pictures as points, each with the concept that it shows. A point is whatever two pictures are compared by, such as the
/// values of all codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    size: usize,
    /// `[n, size]`.
    points: Vec<f32>,
    concepts: Vec<String>,
}

/// The picture of a catalogue that is nearest to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest<'a> {
    /// Which one, counted from 0.
    pub index: usize,
    /// What it shows.
    pub concept: &'a str,
    /// The root of the mean squared difference of the two points.
    pub distance: f64,
}

impl Catalogue {
    /// No picture; points have so many numbers.
    pub fn new(size: usize) -> Self {
        Self { size, points: Vec::new(), concepts: Vec::new() }
    }

    /// Adds a picture, unless its point has another number of numbers.
    pub fn add(&mut self, concept: &str, point: &[f32]) -> bool {
        let fits = point.len() == self.size;
        if fits {
            self.points.extend_from_slice(point);
            self.concepts.push(concept.to_owned());
        }
        fits
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.concepts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.concepts.is_empty()
    }

    /// All that they show, each once, in the order in which it came.
    pub fn concepts(&self) -> Vec<&str> {
        let mut taken = HashSet::new();
        self.concepts.iter().map(String::as_str).filter(|concept| taken.insert(*concept)).collect()
    }

    /// Whether one shows a concept.
    pub fn shows(&self, concept: &str) -> bool {
        self.concepts.iter().any(|known| known == concept)
    }

    /// The share of its pictures that show a concept: how often a picture drawn from it would be a hit.
    pub fn chance(&self, concept: &str) -> f64 {
        self.concepts.iter().filter(|known| *known == concept).count() as f64 / self.len().max(1) as f64
    }

    /// The picture nearest to a point, of equals the first; `None` in an empty catalogue and for a point of another size.
    pub fn nearest(&self, point: &[f32]) -> Option<Nearest<'_>> {
        if point.len() != self.size {
            return None;
        }
        let distance = |other: &[f32]| -> f64 {
            let squares = other.iter().zip(point).map(|(a, b)| f64::from(a - b) * f64::from(a - b));
            squares.sum::<f64>()
        };
        let all = self.points.chunks_exact(self.size.max(1)).map(distance).enumerate();
        let (index, squared) = all.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let distance = (squared / self.size as f64).sqrt();
        Some(Nearest { index, concept: &self.concepts[index], distance })
    }
}

/// Whether a name stands in the first `words` words of a text, as whole words and whatever their case. In scripts that put no
/// spaces between words it is enough that its characters stand there.
pub fn says(text: &str, name: &str, words: usize) -> bool {
    let plain = |text: &str| -> Vec<String> {
        let split = text.split(|c: char| !c.is_alphanumeric() && !is_mark(c));
        split.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    let (name, text) = (plain(name), plain(text));
    let first = &text[..text.len().min(words)];
    if name.is_empty() {
        return false;
    }
    if name.iter().flat_map(|word| word.chars()).any(is_written_without_spaces) {
        return first.concat().contains(&name.concat());
    }
    first.windows(name.len()).any(|window| window == name)
}

/// Vowel signs and accents that stand behind their letter as characters of their own.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x0300..=0x036F | 0x0900..=0x0D7F | 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF)
}

/// Han, kana, Thai, Lao, Myanmar and Khmer.
fn is_written_without_spaces(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_picture_says_what_is_shown() {
        let mut catalogue = Catalogue::new(2);
        assert_eq!((catalogue.nearest(&[0.0, 0.0]), catalogue.chance("fox")), (None, 0.0));
        for (concept, point) in [("fox", [0.0, 0.0]), ("owl", [1.0, 1.0]), ("fox", [2.0, 0.0])] {
            assert!(catalogue.add(concept, &point));
        }
        assert!(!catalogue.add("cat", &[1.0]) && catalogue.len() == 3);
        let nearest = catalogue.nearest(&[1.0, 3.0]).unwrap();
        assert_eq!((nearest.index, nearest.concept), (1, "owl"));
        assert_eq!(nearest.distance, 2.0_f64.sqrt());
        assert_eq!(catalogue.nearest(&[1.0, 0.0]).unwrap().index, 0);
        assert_eq!(catalogue.nearest(&[0.0]), None);
        assert!(catalogue.shows("owl") && !catalogue.shows("cat"));
        assert_eq!(catalogue.chance("fox"), 2.0 / 3.0);
        assert_eq!(catalogue.concepts(), ["fox", "owl"]);
    }

    #[test]
    fn a_name_is_said_as_whole_words_within_the_first_ones() {
        assert!(says("A red Fox, in the snow.", "fox", 8));
        assert!(says("a hot air balloon", "Hot-air balloon", 8));
        assert!(!says("a foxglove", "fox", 8) && !says("one two three four fox", "fox", 4) && !says("fox", "", 8));
        assert!(says("これは狐です", "狐", 8));
        assert!(says("नमस्ते लोमड़ी", "लोमड़ी", 8));
        assert!(!says("लोमड़ीवाला", "लोमड़ी", 8));
    }

    proptest! {
        #[test]
        fn a_picture_of_the_catalogue_is_nearest_to_itself(points in prop::collection::vec(prop::array::uniform3(-4.0_f32..4.0), 1..8)) {
            let mut catalogue = Catalogue::new(3);
            for (number, point) in points.iter().enumerate() {
                catalogue.add(&number.to_string(), point);
            }
            for point in &points {
                let nearest = catalogue.nearest(point).unwrap();
                prop_assert_eq!(nearest.distance, 0.0);
                prop_assert_eq!(&points[nearest.index], point);
            }
        }
    }
}
