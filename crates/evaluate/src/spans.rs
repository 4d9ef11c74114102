//! Words, pictures and sounds on one canvas: how often a made picture shows what the text before it speaks of, how often a
//! made sound says its word, how often the first words behind either name what it shows or says, and what held-out codes
//! cost.
//!
//! A made picture shows the concept of the picture of the training data that is nearest to it ([`Catalogue`]), and that whose
//! name a judge finds nearest. Beside the share of hits stand that of pictures drawn from the catalogue (chance) and that of
//! the true pictures as the codec gives them back, and the distance to the nearest picture, which is 0 of a copy. A made sound
//! says what the model itself reads in it, and what the known sound says that is nearest to it ([`SoundCatalogue`]).

mod pictures;
mod rows;
mod sounds;
mod subject;
mod words;

pub use pictures::{JudgedPictures, ShownPictures};
pub use rows::{BadSpanRow, Illustrated, SpanRow};
pub use sounds::{HeardSound, SoundOrigin, SpokenShares, SpokenWords};
pub use subject::{Captioned, CodesCost, Given, MediaSampling, SpanSubject, Wanted};
pub use words::NamedSpans;

use crate::{Catalogue, SoundCatalogue};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// The kinds of rows that have a picture behind their text.
const KINDS: [&str; 2] = ["passage", words::CAPTION];

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSettings {
    /// Numbers of steps of a picture or a sound.
    pub steps: Vec<usize>,
    /// Guidance scales of a picture or a sound; each is measured with each number of steps.
    pub guidance_scales: Vec<f64>,
    /// Texts of each kind, pictures of each language and sounds of each source at most, spread evenly.
    pub count: usize,
    /// The seed.
    pub seed: u64,
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanReport {
    /// Pictures that made ones were compared with.
    pub catalogue: usize,
    /// A line for each kind of text, number of steps and guidance scale.
    pub pictures: Vec<ShownPictures>,
    /// A line for each language, that with the most pictures first.
    pub captions: Vec<NamedSpans>,
    /// A line for each source of sounds that are made, number of steps and guidance scale.
    pub spoken: Vec<SpokenWords>,
    /// A line for each source of sounds that are read, that with the most first.
    pub heard: Vec<NamedSpans>,
    /// What held-out codes cost, by what they are of: `picture`, `sound`.
    pub codes: BTreeMap<&'static str, CodesCost>,
}

/// Hears of what is measured while it is.
pub trait SpanWatcher<E> {
    /// A line of pictures.
    fn shown(&mut self, line: &ShownPictures);

    /// A line of sounds.
    fn spoken(&mut self, line: &SpokenWords);

    /// Whether it wants to hear sounds.
    fn listens(&self) -> bool;

    /// A sound, where it listens.
    ///
    /// # Errors
    /// When it cannot do with it what it does.
    fn heard(&mut self, sound: HeardSound<'_>) -> Result<(), E>;
}

/// A subject beside the pictures and sounds that it was trained on.
#[derive(Debug)]
pub struct SpanBench<'a, S> {
    subject: &'a S,
    catalogue: Catalogue,
    /// The names of all concepts of the catalogue under the judge, where there is one.
    named: Option<Catalogue>,
    sounds: SoundCatalogue,
}

impl<'a, S: SpanSubject> SpanBench<'a, S> {
    /// Reads the pictures and sounds of rows that were trained on, once each.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(subject: &'a S, trained: &[SpanRow]) -> Result<Self, S::Error> {
        let (mut catalogue, mut taken): (Option<Catalogue>, _) = (None, HashSet::new());
        let mut sounds = SoundCatalogue::default();
        for row in trained {
            if subject.has(MediaKind::Picture)
                && let Some(Illustrated { file, .. }) = row.illustrated()
                && taken.insert(file.clone())
                && let Some(codes) = subject.codes_of(MediaKind::Picture, &file)?
            {
                let point = subject.point(&codes);
                catalogue.get_or_insert_with(|| Catalogue::new(point.len())).add(&row.concept, &point);
            }
            if subject.has(MediaKind::Sound)
                && let Some(Illustrated { file, before, behind }) = row.spoken()
                // Of sounds alone nobody says what they say.
                && !(before.trim().is_empty() && behind.trim().is_empty())
                && taken.insert(file.clone())
                && let Some(frames) = subject.frames(Given::File(&file))?
            {
                sounds.add(&file, &row.concept, frames);
            }
        }
        let catalogue = catalogue.unwrap_or_else(|| Catalogue::new(0));
        let named = Self::named(subject, &catalogue)?;
        Ok(Self { subject, catalogue, named, sounds })
    }

    /// The pictures that made ones are compared with.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The sounds that made ones are compared with, beside those that are held out.
    pub fn sounds(&self) -> &SoundCatalogue {
        &self.sounds
    }

    /// Measures held-out rows.
    ///
    /// # Errors
    /// When the subject or the watcher fails.
    pub fn measure(
        &self,
        held_out: &[SpanRow],
        settings: &SpanSettings,
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<SpanReport, S::Error> {
        let &SpanSettings { count, seed, .. } = settings;
        let samplings: Vec<MediaSampling> = settings
            .steps
            .iter()
            .flat_map(|&steps| settings.guidance_scales.iter().map(move |&scale| (steps, scale)))
            .map(|(steps, guidance_scale)| MediaSampling { steps, guidance_scale, seed })
            .collect();
        let mut report = SpanReport {
            catalogue: self.catalogue.len(),
            pictures: Vec::new(),
            captions: Vec::new(),
            spoken: Vec::new(),
            heard: Vec::new(),
            codes: BTreeMap::new(),
        };
        if self.subject.has(MediaKind::Picture) {
            for &sampling in &samplings {
                for kind in KINDS {
                    if let Some(line) = self.shown(held_out, (kind, count), sampling)? {
                        watcher.shown(&line);
                        report.pictures.push(line);
                    }
                }
            }
            report.captions = self.captions(held_out, count, seed)?;
        }
        if self.subject.has(MediaKind::Sound) {
            report.spoken = self.spoken(held_out, count, &samplings, watcher)?;
            report.heard = self.heard(held_out, count, seed)?;
        }
        for kind in [MediaKind::Picture, MediaKind::Sound] {
            if let Some(cost) = self.cost(kind, held_out, settings)? {
                report.codes.insert(kind.name(), cost);
            }
        }
        Ok(report)
    }

    /// What the codes of a kind cost in held-out rows.
    fn cost(&self, kind: MediaKind, rows: &[SpanRow], settings: &SpanSettings) -> Result<Option<CodesCost>, S::Error> {
        let has_one = |row: &&SpanRow| match kind {
            MediaKind::Picture => row.illustrated().is_some(),
            MediaKind::Sound => row.spoken().is_some(),
        };
        let texts: Vec<&str> = rows.iter().filter(has_one).map(|row| row.text.as_str()).collect();
        let texts = spread(texts, settings.count);
        if texts.is_empty() || !self.subject.has(kind) {
            return Ok(None);
        }
        self.subject.nats_per_code(kind, &texts, settings.seed)
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
    use crate::{Frames, Share};
    use std::convert::Infallible;

    /// A subject whose pictures have one code each, the number in their name, and that makes the picture of the number in a
    /// text, wrong ones for odd numbers with guidance of 1; it writes the name of even ones.
    /// With sounds and a judge it has both.
    struct Numbers(bool);

    /// Keeps all that it hears of.
    #[derive(Default)]
    struct Recorded {
        shown: Vec<ShownPictures>,
        spoken: Vec<SpokenWords>,
        heard: Vec<(String, SoundOrigin, u8)>,
    }

    impl SpanWatcher<Infallible> for Recorded {
        fn shown(&mut self, line: &ShownPictures) {
            self.shown.push(line.clone());
        }

        fn spoken(&mut self, line: &SpokenWords) {
            self.spoken.push(line.clone());
        }

        fn listens(&self) -> bool {
            true
        }

        fn heard(&mut self, sound: HeardSound<'_>) -> Result<(), Infallible> {
            self.heard.push((sound.words.to_owned(), sound.origin, sound.wav[0]));
            Ok(())
        }
    }

    fn number(text: &str) -> Option<u32> {
        text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()
    }

    impl SpanSubject for Numbers {
        type Error = Infallible;

        fn has(&self, kind: MediaKind) -> bool {
            kind == MediaKind::Picture || self.0
        }

        fn codes_of(&self, _: MediaKind, file: &str) -> Result<Option<Vec<u32>>, Infallible> {
            Ok((!file.contains("lost")).then(|| number(file).into_iter().collect()))
        }

        fn codes_again(&self, _: MediaKind, codes: &[u32]) -> Result<Vec<u32>, Infallible> {
            // The codec loses 3.
            Ok(codes.iter().map(|code| if *code == 3 { 4 } else { *code }).collect())
        }

        fn point(&self, codes: &[u32]) -> Vec<f32> {
            codes.iter().map(|code| *code as f32).collect()
        }

        fn frames(&self, sound: Given<'_>) -> Result<Option<Frames>, Infallible> {
            // The codec of sounds loses 3, too. Two voices say the same number nearly alike.
            let value = match sound {
                Given::File(file) => number(file).map(|number| (number % 10) as f32 + (number / 10) as f32 / 100.0),
                Given::Codes(codes) => codes.first().map(|code| if code % 10 == 3 { 4.0 } else { (code % 10) as f32 }),
            };
            Ok(value.map(|value| Frames { bands: 1, values: vec![value] }))
        }

        fn wav(&self, sound: Given<'_>) -> Result<Option<Vec<u8>>, Infallible> {
            Ok(self.frames(sound)?.map(|frames| vec![frames.values[0] as u8]))
        }

        fn make(&self, wanted: &[Wanted<'_>], sampling: MediaSampling) -> Result<Vec<Option<Vec<u32>>>, Infallible> {
            let off = |code: u32| if sampling.guidance_scale == 1.0 { code + code % 2 } else { code };
            let made =
                |of: &Wanted<'_>| (!of.text.contains("long")).then(|| number(of.text).map(off).into_iter().collect());
            Ok(wanted.iter().map(made).collect())
        }

        fn words(&self, captioned: &[Captioned<'_>], _: u64) -> Result<Vec<Option<String>>, Infallible> {
            let said = |of: &Captioned<'_>| match of.given {
                Given::File(file) if number(file)? % 2 == 0 => Some(format!(" it is {} there", of.name)),
                Given::File(_) => Some("nothing".to_owned()),
                Given::Codes(codes) => Some(format!("n{}", codes[0] % 10)),
            };
            Ok(captioned.iter().map(said).collect())
        }

        fn nats_per_code(&self, _: MediaKind, texts: &[&str], _: u64) -> Result<Option<CodesCost>, Infallible> {
            Ok(Some(CodesCost { nats_per_code: 1.5, codes: texts.len() as u64, uniform: 2.0 }))
        }

        fn judged_names(&self, names: &[&str]) -> Result<Option<Vec<Vec<f32>>>, Infallible> {
            let vector = |name: &&str| vec![number(name).unwrap_or_default() as f32];
            Ok(self.0.then(|| names.iter().map(vector).collect()))
        }

        fn judged(&self, picture: Given<'_>) -> Result<Option<Vec<f32>>, Infallible> {
            // It sees 2 where 1 is.
            let value = match picture {
                Given::File(file) => number(file),
                Given::Codes(codes) => codes.first().copied(),
            };
            Ok(value.filter(|_| self.0).map(|value| vec![value.max(2) as f32]))
        }
    }

    fn row(text: &str, concept: &str, kind: &str, lang: &str) -> SpanRow {
        let [text, concept, kind, lang] = [text, concept, kind, lang].map(str::to_owned);
        SpanRow { text, concept, kind, lang, source: String::new() }
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
        let bench = SpanBench::new(&Numbers(false), &trained).unwrap();
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
        let mut recorded = Recorded::default();
        let report = bench.measure(&held_out, &settings, &mut recorded).unwrap();
        assert_eq!((report.catalogue, &report.pictures), (4, &recorded.shown));
        assert!(report.spoken.is_empty() && report.heard.is_empty() && recorded.heard.is_empty());
        assert!(report.pictures.iter().all(|line| line.judged.is_none()));
        let cost = CodesCost { nats_per_code: 1.5, codes: 9, uniform: 2.0 };
        assert_eq!(report.codes, BTreeMap::from([("picture", cost)]));
        let [weak, strong] = &report.pictures[..] else { panic!("{report:?}") };
        assert_eq!((weak.kind.as_str(), weak.steps, weak.count, weak.concepts), ("passage", 4, 3, 3));
        assert_eq!((weak.hit_rate, strong.hit_rate), (1.0 / 3.0, 1.0));
        assert_eq!((weak.chance, weak.reconstruction_hit_rate), (0.25, 2.0 / 3.0));
        assert_eq!((weak.distance, weak.true_distance), (0.0, 0.0));
        let named: Vec<_> =
            report.captions.iter().map(|line| (line.lang.as_str(), line.count, line.hit_rate)).collect();
        assert_eq!(named, [("en", 2, 0.5), ("de", 1, 1.0)]);
        // Few of them stand for all.
        let few = bench.measure(&held_out, &SpanSettings { count: 1, ..settings }, &mut Recorded::default()).unwrap();
        assert!(few.pictures.iter().all(|line| line.count <= 1) && few.captions.iter().all(|line| line.count == 1));
        let nothing = SpanBench::new(&Numbers(false), &[]).unwrap();
        assert!(nothing.catalogue().is_empty());
    }

    #[test]
    fn a_judge_counts_made_pictures_reconstructions_and_originals() {
        let trained: Vec<SpanRow> =
            (1..=4).map(|n| row(&format!("[[picture:{n}.png]] x"), &format!("c{n}"), "caption", "en")).collect();
        let subject = Numbers(true);
        let bench = SpanBench::new(&subject, &trained).unwrap();
        let held_out: Vec<SpanRow> = (1..=3)
            .map(|n| row(&format!("about {n} [[picture:{n}.png]]"), &format!("c{n}"), "passage", "en"))
            .collect();
        let settings = SpanSettings { steps: vec![4], guidance_scales: vec![1.0], count: 9, seed: 0 };
        let report = bench.measure(&held_out, &settings, &mut Recorded::default()).unwrap();
        let judged = report.pictures[0].judged.unwrap();
        // Made are 2, 2 and 4; the judge takes 1 for 2.
        assert_eq!((judged.names, judged.chance()), (4, 0.25));
        assert_eq!(judged.made, Share { hits: 1, count: 3 });
        assert_eq!(judged.originals, Share { hits: 2, count: 3 });
        assert_eq!(judged.reconstructions, Share { hits: 2, count: 3 });
    }

    #[test]
    fn sounds_are_read_back_and_compared_with_other_recordings() {
        // The word of a sound is its last digit, its voice the digit before it.
        let word = |file: u32, before: bool| {
            let (words, sound) = (format!("n{}", file % 10), format!("[[sound:{file}.flac]]"));
            let text = if before { format!("{words} {sound}") } else { format!("{sound} {words}") };
            row(&text, &words, "word", "en")
        };
        let trained = [word(11, true), word(12, false), row("[[sound:19.flac]]", "", "word", "en")];
        let subject = Numbers(true);
        let bench = SpanBench::new(&subject, &trained).unwrap();
        assert_eq!(bench.sounds().len(), 2);
        // 1 and 2 have a recording that was trained on, 3 another that is held out, 5 none.
        let held_out: Vec<SpanRow> = [21, 22, 13, 23, 25].into_iter().map(|file| word(file, true)).collect();
        let held_out = [&held_out[..], &[word(22, false), word(23, false)]].concat();
        let settings = SpanSettings { steps: vec![4], guidance_scales: vec![1.0, 2.0], count: 9, seed: 0 };
        let mut recorded = Recorded::default();
        let report = bench.measure(&held_out, &settings, &mut recorded).unwrap();
        assert_eq!(report.spoken, recorded.spoken);
        let [weak, strong] = &report.spoken[..] else { panic!("{report:?}") };
        assert_eq!((weak.source.as_str(), weak.count, weak.guidance_scale, strong.guidance_scale), ("en", 5, 1.0, 2.0));
        // What is made of odd numbers with guidance of 1 is the next one.
        assert_eq!((weak.read.made, strong.read.made), (Share { hits: 1, count: 5 }, Share { hits: 5, count: 5 }));
        // Files are read where they are even; codes always.
        assert_eq!(weak.read.originals, Share { hits: 1, count: 5 });
        assert_eq!(weak.read.reconstructions, Share { hits: 5, count: 5 });
        // 5 has no other recording. The codec takes 3 for 4, to which another 3 is as near as 5 with its voice is not.
        assert_eq!(strong.nearest.originals, Share { hits: 4, count: 4 });
        assert_eq!(strong.nearest.reconstructions, Share { hits: 4, count: 4 });
        assert_eq!(weak.nearest.made.count, 4);
        assert!((weak.chance - 1.0 / 6.0).abs() < 1e-12, "{}", weak.chance);
        assert!(strong.true_distance > 0.0 && strong.distance > 0.0);
        let heard: Vec<_> = report.heard.iter().map(|line| (line.lang.as_str(), line.count, line.hit_rate)).collect();
        assert_eq!(heard, [("en", 2, 0.5)]);
        // Each recording, what came back of it, and what was made with both settings.
        assert_eq!(recorded.heard.len(), 4 * 5);
        let of = |origin| recorded.heard.iter().filter(|(_, of, _)| *of == origin).count();
        let made = |guidance_scale| SoundOrigin::Made(MediaSampling { steps: 4, guidance_scale, seed: 0 });
        assert_eq!([of(SoundOrigin::Original), of(SoundOrigin::Reconstruction), of(made(1.0)), of(made(2.0))], [5; 4]);
        assert_eq!(report.codes.keys().collect::<Vec<_>>(), [&"sound"]);
    }

    #[test]
    fn rows_are_spread_evenly() {
        assert_eq!(spread((0..10).collect(), 2), [4, 9]);
        assert_eq!(spread(vec![1, 2], 5), [1, 2]);
        assert_eq!(spread(vec![1, 2], 0), [2]);
    }
}
