//! Word to sound: whether a made sound says its word, by the model's own reading and by the known sound that it is nearest to.
//!
//! A made sound is as long as the recording that belongs to its word. Known sounds are those that were trained on and those
//! that are held out: whole words are held out, so that another recording of one is held out, too. The recording itself is
//! never what it or its reconstruction is compared with.

use super::rows::WORD;
use super::{
    Captioned, Given, Illustrated, MediaSampling, SpanBench, SpanRow, SpanSubject, SpanWatcher, Wanted, spread,
};
use crate::{Share, SoundCatalogue};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// How often made sounds say their word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpokenWords {
    /// Where the recordings come from.
    pub source: String,
    /// Denoising steps.
    pub steps: usize,
    /// How far they follow their text.
    pub guidance_scale: f64,
    /// Words, each with its recording.
    pub count: usize,
    /// Read by the model itself, as sound to words.
    pub read: SpokenShares,
    /// The nearest known sound says the word, of words with more than one recording.
    pub nearest: SpokenShares,
    /// How often another known sound drawn at random says the word.
    pub chance: f64,
    /// Distance of made sounds to the nearest known one.
    pub distance: f64,
    /// The same of the recordings that belong to the words.
    pub true_distance: f64,
    /// Seconds for each, from its word on.
    pub seconds_each: f64,
}

/// Shares of sounds that say their word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SpokenShares {
    /// Of made ones.
    pub made: Share,
    /// Of recordings as the codec gives them back.
    pub reconstructions: Share,
    /// Of recordings.
    pub originals: Share,
}

/// A sound that something else may listen to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeardSound<'a> {
    /// The words that it should say.
    pub words: &'a str,
    /// Their language.
    pub lang: &'a str,
    /// Where the recording comes from.
    pub source: &'a str,
    /// What it is.
    pub origin: SoundOrigin,
    /// A WAV file.
    pub wav: &'a [u8],
}

/// Where a sound comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SoundOrigin {
    /// It is a recording, in the rate of the codec.
    Original,
    /// It is a recording as the codec gives it back.
    Reconstruction,
    /// The model made it.
    Made(MediaSampling),
}

/// A word with its recording, and what is known of both before anything is made.
struct Spoken<'r> {
    row: &'r SpanRow,
    parts: Illustrated<'r>,
    codes: Vec<u32>,
}

/// The words of a source, and what its recordings come to.
struct Source<'r> {
    name: String,
    spoken: Vec<Spoken<'r>>,
    read: SpokenShares,
    nearest: SpokenShares,
    chance: f64,
    true_distance: f64,
}

impl SpanRow {
    /// Sounds are measured by where they come from, or by their language where that is not known.
    pub(super) fn group(&self) -> String {
        if self.source.is_empty() { self.lang.clone() } else { self.source.clone() }
    }
}

impl<S: SpanSubject> SpanBench<'_, S> {
    /// All words that have their sound behind them, by where the sounds come from, at each of the settings.
    pub(super) fn spoken(
        &self,
        rows: &[SpanRow],
        most: usize,
        samplings: &[MediaSampling],
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<Vec<SpokenWords>, S::Error> {
        let mut known = self.sounds.clone();
        for row in rows.iter().filter(|row| row.kind == WORD) {
            let Some(Illustrated { file, .. }) = row.spoken() else { continue };
            if !known.has(&file)
                && let Some(frames) = self.subject.frames(Given::File(&file))?
            {
                known.add(&file, &row.concept, frames);
            }
        }
        let mut measured = Vec::new();
        for source in self.sources(rows, most, &known, watcher)? {
            for &sampling in samplings {
                if let Some(line) = self.made_sounds(&source, &known, sampling, watcher)? {
                    watcher.spoken(&line);
                    measured.push(line);
                }
            }
        }
        Ok(measured)
    }

    /// The words of each source, with what their recordings come to.
    fn sources<'r>(
        &self,
        rows: &'r [SpanRow],
        most: usize,
        known: &SoundCatalogue,
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<Vec<Source<'r>>, S::Error> {
        let mut groups: BTreeMap<String, Vec<(&SpanRow, Illustrated<'_>)>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == WORD) {
            let Some(parts) = row.spoken() else { continue };
            if !parts.before.trim().is_empty() && parts.behind.is_empty() {
                groups.entry(row.group()).or_default().push((row, parts));
            }
        }
        let mut sources = Vec::new();
        for (name, rows) in groups {
            let mut spoken = Vec::new();
            for (row, parts) in spread(rows, most) {
                if let Some(codes) = self.subject.codes_of(MediaKind::Sound, &parts.file)? {
                    spoken.push(Spoken { row, parts, codes });
                }
            }
            let mut source = Source {
                name,
                spoken,
                read: SpokenShares::default(),
                nearest: SpokenShares::default(),
                chance: 0.0,
                true_distance: 0.0,
            };
            self.recordings(&mut source, known, watcher)?;
            sources.push(source);
        }
        Ok(sources)
    }

    /// Measures the recordings of a source and what the codec gives back of them.
    fn recordings(
        &self,
        source: &mut Source<'_>,
        known: &SoundCatalogue,
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<(), S::Error> {
        let Source { spoken, read, nearest, chance, true_distance, .. } = source;
        let originals: Vec<Captioned<'_>> = spoken.iter().map(|of| of.captioned(Given::File(&of.parts.file))).collect();
        read.originals = self.said(&originals, 0)?.into_iter().flatten().collect();
        let again: Vec<Captioned<'_>> = spoken.iter().map(|of| of.captioned(Given::Codes(&of.codes))).collect();
        read.reconstructions = self.said(&again, 0)?.into_iter().flatten().collect();
        for of in spoken.iter() {
            let file = Given::File(&of.parts.file);
            for (given, origin, share) in [
                (file, SoundOrigin::Original, &mut nearest.originals),
                (Given::Codes(&of.codes), SoundOrigin::Reconstruction, &mut nearest.reconstructions),
            ] {
                let distance = self.compare(of, given, known, share)?;
                if given == file {
                    *true_distance += distance / spoken.len() as f64;
                }
                self.hear(of, given, origin, watcher)?;
            }
            *chance += known.chance(&of.row.concept);
        }
        *chance /= nearest.originals.count.max(1) as f64;
        Ok(())
    }

    fn made_sounds(
        &self,
        source: &Source<'_>,
        known: &SoundCatalogue,
        sampling: MediaSampling,
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<Option<SpokenWords>, S::Error> {
        let wanted: Vec<Wanted<'_>> = source.spoken.iter().map(Spoken::wanted).collect();
        let begun = Instant::now();
        let made = self.subject.make(&wanted, sampling)?;
        let seconds = begun.elapsed().as_secs_f64();
        let made: Vec<(&Spoken<'_>, Vec<u32>)> =
            source.spoken.iter().zip(made).filter_map(|(of, codes)| Some((of, codes?))).collect();
        if made.is_empty() {
            return Ok(None);
        }
        let (mut read, mut nearest, mut distance) = (source.read, source.nearest, 0.0);
        let captioned: Vec<Captioned<'_>> = made.iter().map(|(of, codes)| of.captioned(Given::Codes(codes))).collect();
        read.made = self.said(&captioned, sampling.seed)?.into_iter().flatten().collect();
        for (of, codes) in &made {
            distance += self.compare(of, Given::Codes(codes), known, &mut nearest.made)? / made.len() as f64;
            self.hear(of, Given::Codes(codes), SoundOrigin::Made(sampling), watcher)?;
        }
        Ok(Some(SpokenWords {
            source: source.name.clone(),
            steps: sampling.steps,
            guidance_scale: sampling.guidance_scale,
            count: made.len(),
            read,
            nearest,
            chance: source.chance,
            distance,
            true_distance: source.true_distance,
            seconds_each: seconds / made.len() as f64,
        }))
    }

    /// The distance of a sound to the nearest known one; counts whether that says the same, where there is another recording
    /// of it.
    fn compare(
        &self,
        of: &Spoken<'_>,
        sound: Given<'_>,
        known: &SoundCatalogue,
        share: &mut Share,
    ) -> Result<f64, S::Error> {
        let Some(frames) = self.subject.frames(sound)? else { return Ok(0.0) };
        let Some(found) = known.nearest(&frames, &of.parts.file) else { return Ok(0.0) };
        if known.chance(&of.row.concept) > 0.0 {
            share.add(found.words == of.row.concept);
        }
        Ok(found.distance)
    }

    fn hear(
        &self,
        of: &Spoken<'_>,
        sound: Given<'_>,
        origin: SoundOrigin,
        watcher: &mut dyn SpanWatcher<S::Error>,
    ) -> Result<(), S::Error> {
        if !watcher.listens() {
            return Ok(());
        }
        let SpanRow { concept: words, lang, source, .. } = of.row;
        match self.subject.wav(sound)? {
            Some(wav) => watcher.heard(HeardSound { words, lang, source, origin, wav: &wav }),
            None => Ok(()),
        }
    }
}

impl Spoken<'_> {
    /// A sound of the word, as long as the recording.
    fn wanted(&self) -> Wanted<'_> {
        Wanted { kind: MediaKind::Sound, text: self.parts.before, codes: self.codes.len() }
    }

    /// It or another sound of the word, to be read.
    fn captioned<'a>(&'a self, given: Given<'a>) -> Captioned<'a> {
        Captioned { kind: MediaKind::Sound, given, lead: "", name: &self.row.concept }
    }
}
