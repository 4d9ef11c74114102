//! Pictures and words on one canvas: how often a made picture shows what the text before it speaks of, and how often the
//! first words behind a picture name what it shows.
//!
//! A made picture shows the concept of the picture of the training data that is nearest to it ([`Catalogue`]). Beside the
//! share of hits stand that of pictures drawn from the catalogue (chance) and that of the true pictures as the codec gives
//! them back, and the distance to the nearest picture, which is 0 of a copy.

mod rows;

pub use rows::{BadSpanRow, Illustrated, SpanRow};

use crate::{Catalogue, says};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// The kinds of rows that have a picture behind their text.
const KINDS: [&str; 2] = ["passage", CAPTION];
/// The kind of rows that name what their picture shows.
const CAPTION: &str = "caption";
/// Words of a caption among which the name of what is shown has to be.
const WORDS: usize = 8;

/// A model of words and pictures, with the codec of its pictures and the pictures that rows name.
pub trait SpanSubject {
    /// Why it could not be measured.
    type Error;

    /// The codes of a picture that rows name; `None` where it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn codes_of(&self, file: &str) -> Result<Option<Vec<u32>>, Self::Error>;

    /// The codes of what the codec gives back for codes.
    ///
    /// # Errors
    /// When the codec fails.
    fn codes_again(&self, codes: &[u32]) -> Result<Vec<u32>, Self::Error>;

    /// By what pictures are compared: the values of all columns of all codes, each from −1 to 1.
    fn point(&self, codes: &[u32]) -> Vec<f32>;

    /// The codes of the pictures that are made behind texts; `None` for a text that the model cannot read with a picture.
    ///
    /// # Errors
    /// When the model fails.
    fn pictures(&self, texts: &[&str], sampling: PictureSampling) -> Result<Vec<Option<Vec<u32>>>, Self::Error>;

    /// The words that are written behind pictures and their leads; `None` where the model cannot read a picture, or it is not
    /// there.
    ///
    /// # Errors
    /// When the model fails.
    fn words(&self, captioned: &[Captioned<'_>], seed: u64) -> Result<Vec<Option<String>>, Self::Error>;
}

/// How pictures are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureSampling {
    /// Denoising steps.
    pub steps: usize,
    /// How far they follow their text.
    pub guidance_scale: f64,
    /// The seed.
    pub seed: u64,
}

/// A picture that words are written behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captioned<'a> {
    /// Its file.
    pub file: &'a str,
    /// What is given behind it: the name of a language and a colon, or nothing.
    pub lead: &'a str,
    /// The words that name what it shows.
    pub name: &'a str,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSettings {
    /// Numbers of steps of a picture.
    pub steps: Vec<usize>,
    /// Guidance scales of a picture; each is measured with each number of steps.
    pub guidance_scales: Vec<f64>,
    /// Texts of each kind and pictures of each language at most, spread evenly.
    pub count: usize,
    /// The seed.
    pub seed: u64,
}

/// How often a picture shows what the text before it speaks of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownPictures {
    /// The kind of the texts.
    pub kind: String,
    /// Denoising steps.
    pub steps: usize,
    /// How far they follow their text.
    pub guidance_scale: f64,
    /// Texts.
    pub count: usize,
    /// Concepts of which they speak.
    pub concepts: usize,
    /// The share of pictures that show it.
    pub hit_rate: f64,
    /// The same of pictures drawn from the catalogue.
    pub chance: f64,
    /// The same of the pictures that belong to the texts, as the codec gives them back.
    pub reconstruction_hit_rate: f64,
    /// Distance to the nearest picture of the catalogue, root mean squared over the values of codes.
    pub distance: f64,
    /// The same of the pictures that belong to the texts.
    pub true_distance: f64,
    /// Seconds for each, from its text or picture on.
    pub seconds_each: f64,
}

/// How often the first words behind a picture name what it shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedPictures {
    /// The language of the words.
    pub lang: String,
    /// Pictures.
    pub count: usize,
    /// The share of them that are named.
    pub hit_rate: f64,
    /// Seconds for each, from its text or picture on.
    pub seconds_each: f64,
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanReport {
    /// Pictures that made ones were compared with.
    pub catalogue: usize,
    /// A line for each kind of text, number of steps and guidance scale.
    pub pictures: Vec<ShownPictures>,
    /// A line for each language, that with the most pictures first.
    pub captions: Vec<NamedPictures>,
}

/// A subject beside the pictures that it was trained on.
#[derive(Debug)]
pub struct SpanBench<'a, S> {
    subject: &'a S,
    catalogue: Catalogue,
}

impl<'a, S: SpanSubject> SpanBench<'a, S> {
    /// Reads the pictures of rows that were trained on, once each.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(subject: &'a S, trained: &[SpanRow]) -> Result<Self, S::Error> {
        let (mut catalogue, mut taken): (Option<Catalogue>, _) = (None, HashSet::new());
        for row in trained {
            let Some(Illustrated { file, .. }) = row.illustrated() else { continue };
            if !taken.insert(file.clone()) {
                continue;
            }
            if let Some(codes) = subject.codes_of(&file)? {
                let point = subject.point(&codes);
                catalogue.get_or_insert_with(|| Catalogue::new(point.len())).add(&row.concept, &point);
            }
        }
        Ok(Self { subject, catalogue: catalogue.unwrap_or_else(|| Catalogue::new(0)) })
    }

    /// The pictures that made ones are compared with.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Measures held-out rows; `measured` hears of each line of pictures.
    ///
    /// # Errors
    /// When the subject fails.
    pub fn measure(
        &self,
        held_out: &[SpanRow],
        settings: &SpanSettings,
        measured: &mut dyn FnMut(&ShownPictures),
    ) -> Result<SpanReport, S::Error> {
        let mut pictures = Vec::new();
        for &steps in &settings.steps {
            for &guidance_scale in &settings.guidance_scales {
                let sampling = PictureSampling { steps, guidance_scale, seed: settings.seed };
                for kind in KINDS {
                    if let Some(line) = self.pictures(held_out, (kind, settings.count), sampling)? {
                        measured(&line);
                        pictures.push(line);
                    }
                }
            }
        }
        let captions = self.captions(held_out, settings.count, settings.seed)?;
        Ok(SpanReport { catalogue: self.catalogue.len(), pictures, captions })
    }

    /// At most `most` texts of a kind that have their picture behind them, whose concept some picture of the catalogue shows,
    /// and that the model can read with a picture.
    fn pictures(
        &self,
        rows: &[SpanRow],
        (kind, most): (&str, usize),
        sampling: PictureSampling,
    ) -> Result<Option<ShownPictures>, S::Error> {
        let usable = rows.iter().filter(|row| row.kind == kind && self.catalogue.shows(&row.concept));
        let usable = usable.filter_map(|row| Some((&row.concept, row.illustrated()?)));
        let usable = usable.filter(|(_, parts)| !parts.before.is_empty() && parts.behind.is_empty());
        let rows = spread(usable.collect(), most);
        let texts: Vec<&str> = rows.iter().map(|(_, parts)| parts.before).collect();
        let begun = Instant::now();
        let made = self.subject.pictures(&texts, sampling)?;
        let seconds = begun.elapsed().as_secs_f64();
        let nearest = |codes: &[u32]| self.catalogue.nearest(&self.subject.point(codes));
        let (mut count, mut hits, mut chance, mut distance) = (0.0, 0.0, 0.0, 0.0);
        let (mut true_count, mut reconstructed, mut true_distance) = (0.0_f64, 0.0, 0.0);
        let mut concepts = HashSet::new();
        for ((concept, parts), codes) in rows.into_iter().zip(made) {
            let Some(codes) = codes else { continue };
            count += 1.0;
            concepts.insert(concept);
            if let Some(nearest) = nearest(&codes) {
                hits += f64::from(u8::from(nearest.concept == concept));
                distance += nearest.distance;
            }
            chance += self.catalogue.chance(concept);
            if let Some(codes) = self.subject.codes_of(&parts.file)? {
                let again = self.subject.codes_again(&codes)?;
                true_count += 1.0;
                reconstructed += f64::from(u8::from(nearest(&again).is_some_and(|nearest| nearest.concept == concept)));
                true_distance += nearest(&codes).map_or(0.0, |nearest| nearest.distance);
            }
        }
        Ok((count > 0.0).then(|| ShownPictures {
            kind: kind.to_owned(),
            steps: sampling.steps,
            guidance_scale: sampling.guidance_scale,
            count: count as usize,
            concepts: concepts.len(),
            hit_rate: hits / count,
            chance: chance / count,
            reconstruction_hit_rate: reconstructed / true_count.max(1.0),
            distance: distance / count,
            true_distance: true_distance / true_count.max(1.0),
            seconds_each: seconds / count,
        }))
    }

    /// Pictures that have their caption behind them, by language; that of another language than English stands behind its
    /// name (`de: Fuchs`), which is given.
    fn captions(&self, rows: &[SpanRow], most: usize, seed: u64) -> Result<Vec<NamedPictures>, S::Error> {
        let mut by_language: BTreeMap<&str, Vec<Illustrated<'_>>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == CAPTION) {
            let parts = row.illustrated().filter(|parts| parts.before.is_empty() && !parts.behind.trim().is_empty());
            by_language.entry(&row.lang).or_default().extend(parts);
        }
        let mut measured = Vec::new();
        for (lang, rows) in by_language {
            let rows = spread(rows, most);
            let captioned: Vec<Captioned<'_>> = rows
                .iter()
                .map(|Illustrated { file, behind, .. }| match behind.find(": ") {
                    Some(colon) if behind[..colon].trim() == lang => {
                        Captioned { file, lead: &behind[..=colon], name: &behind[colon + 2..] }
                    }
                    _ => Captioned { file, lead: "", name: behind },
                })
                .collect();
            let begun = Instant::now();
            let words = self.subject.words(&captioned, seed)?;
            let seconds = begun.elapsed().as_secs_f64();
            let written = captioned.iter().zip(words).filter_map(|(of, words)| Some((of, words?)));
            let hits: Vec<bool> = written.map(|(of, words)| says(&words, of.name, WORDS)).collect();
            if hits.is_empty() {
                continue;
            }
            let count = hits.len() as f64;
            let hit_rate = hits.iter().filter(|hit| **hit).count() as f64 / count;
            let (lang, seconds_each) = (lang.to_owned(), seconds / count);
            measured.push(NamedPictures { lang, count: hits.len(), hit_rate, seconds_each });
        }
        measured.sort_by(|a, b| b.count.cmp(&a.count).then(a.lang.cmp(&b.lang)));
        Ok(measured)
    }
}

/// At most so many, spread evenly.
fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let (count, most) = (all.len(), most.max(1));
    let chosen = |index: &usize| count <= most || index * most / count != (index + 1) * most / count;
    all.into_iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A subject whose pictures have one code each, the number in their name, and that makes the picture of the number in a
    /// text, wrong ones for odd numbers with guidance of 1; it writes the name of even ones.
    struct Numbers;

    fn number(text: &str) -> Option<u32> {
        text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()
    }

    impl SpanSubject for Numbers {
        type Error = Infallible;

        fn codes_of(&self, file: &str) -> Result<Option<Vec<u32>>, Infallible> {
            Ok((!file.contains("lost")).then(|| number(file).into_iter().collect()))
        }

        fn codes_again(&self, codes: &[u32]) -> Result<Vec<u32>, Infallible> {
            // The codec loses 3.
            Ok(codes.iter().map(|code| if *code == 3 { 4 } else { *code }).collect())
        }

        fn point(&self, codes: &[u32]) -> Vec<f32> {
            codes.iter().map(|code| *code as f32).collect()
        }

        fn pictures(&self, texts: &[&str], sampling: PictureSampling) -> Result<Vec<Option<Vec<u32>>>, Infallible> {
            let off = |code: u32| if sampling.guidance_scale == 1.0 { code + code % 2 } else { code };
            let made = |text: &&str| (!text.contains("long")).then(|| number(text).map(off).into_iter().collect());
            Ok(texts.iter().map(made).collect())
        }

        fn words(&self, captioned: &[Captioned<'_>], _: u64) -> Result<Vec<Option<String>>, Infallible> {
            let said = |of: &Captioned<'_>| match number(of.file)? % 2 {
                0 => Some(format!(" it is {} there", of.name)),
                _ => Some("nothing".to_owned()),
            };
            Ok(captioned.iter().map(said).collect())
        }
    }

    fn row(text: &str, concept: &str, kind: &str, lang: &str) -> SpanRow {
        let [text, concept, kind, lang] = [text, concept, kind, lang].map(str::to_owned);
        SpanRow { text, concept, kind, lang }
    }

    #[test]
    fn hits_chance_and_distances_are_those_of_the_nearest_pictures() {
        let trained: Vec<SpanRow> = (1..=4)
            .map(|n| row(&format!("[[picture:{n}.png]] x"), &format!("c{n}"), "caption", "en"))
            .chain([
                row("[[picture:1.png]] again", "c1", "caption", "en"),
                row("[[picture:lost]]", "c9", "caption", "en"),
            ])
            .collect();
        let bench = SpanBench::new(&Numbers, &trained).unwrap();
        assert_eq!(bench.catalogue().len(), 4);
        let held_out = [
            row("about 1 [[picture:1.png]]", "c1", "passage", "en"),
            row("about 2 [[picture:2.png]]", "c2", "passage", "en"),
            row("about 3 [[picture:3.png]]", "c3", "passage", "en"),
            // Too long for the model, shown by no known picture, with a text behind it.
            row("a long 4 [[picture:4.png]]", "c4", "passage", "en"),
            row("about 9 [[picture:9.png]]", "c9", "passage", "en"),
            row("about 4 [[picture:4.png]] more", "c4", "passage", "en"),
            row("[[picture:2.png]] fox", "c2", "caption", "en"),
            row("[[picture:3.png]] owl", "c3", "caption", "en"),
            row("[[picture:4.png]] de: Fuchs", "c4", "caption", "de"),
        ];
        let settings = SpanSettings { steps: vec![4], guidance_scales: vec![1.0, 2.0], count: 9, seed: 0 };
        let mut lines = Vec::new();
        let report = bench.measure(&held_out, &settings, &mut |line| lines.push(line.clone())).unwrap();
        assert_eq!((report.catalogue, &report.pictures), (4, &lines));
        let [weak, strong] = &report.pictures[..] else { panic!("{report:?}") };
        assert_eq!((weak.kind.as_str(), weak.steps, weak.count, weak.concepts), ("passage", 4, 3, 3));
        assert_eq!((weak.hit_rate, strong.hit_rate), (1.0 / 3.0, 1.0));
        assert_eq!((weak.chance, weak.reconstruction_hit_rate), (0.25, 2.0 / 3.0));
        assert_eq!((weak.distance, weak.true_distance), (0.0, 0.0));
        let named: Vec<_> =
            report.captions.iter().map(|line| (line.lang.as_str(), line.count, line.hit_rate)).collect();
        assert_eq!(named, [("en", 2, 0.5), ("de", 1, 1.0)]);
        // Few of them stand for all.
        let few = bench.measure(&held_out, &SpanSettings { count: 1, ..settings }, &mut |_| {}).unwrap();
        assert!(few.pictures.iter().all(|line| line.count <= 1) && few.captions.iter().all(|line| line.count == 1));
        let nothing = SpanBench::new(&Numbers, &[]).unwrap();
        assert!(nothing.catalogue().is_empty());
    }

    #[test]
    fn rows_are_spread_evenly() {
        assert_eq!(spread((0..10).collect(), 2), [4, 9]);
        assert_eq!(spread(vec![1, 2], 5), [1, 2]);
        assert_eq!(spread(vec![1, 2], 0), [2]);
    }
}
