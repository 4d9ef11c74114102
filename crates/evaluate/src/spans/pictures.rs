//! Text to picture: whether a made picture shows what the text before it speaks of.

use super::{Given, Illustrated, MediaSampling, SpanBench, SpanRow, SpanSubject, Wanted, spread};
use crate::{Catalogue, Share};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use std::collections::HashSet;
use std::time::Instant;

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
    /// The interval of Wilson at 95 % of that share.
    pub interval: [f64; 2],
    /// The same share of pictures drawn from the catalogue.
    pub chance: f64,
    /// The same of the pictures that belong to the texts, as the codec gives them back.
    pub reconstruction_hit_rate: f64,
    /// What a judge finds, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<JudgedPictures>,
    /// Distance to the nearest picture of the catalogue, root mean squared over the values of codes.
    pub distance: f64,
    /// The same of the pictures that belong to the texts.
    pub true_distance: f64,
    /// Seconds for each, from its text or picture on.
    pub seconds_each: f64,
}

/// How often a judge finds that a picture shows what its text speaks of: of the names of all concepts of the catalogue, that
/// one is the nearest to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct JudgedPictures {
    /// Names.
    pub names: usize,
    /// Of made pictures.
    pub made: Share,
    /// Of the pictures that belong to the texts, as the codec gives them back.
    pub reconstructions: Share,
    /// Of these pictures themselves.
    pub originals: Share,
}

impl JudgedPictures {
    /// How often a name drawn at random is right.
    pub fn chance(&self) -> f64 {
        1.0 / self.names.max(1) as f64
    }
}

impl<S: SpanSubject> SpanBench<'_, S> {
    /// The names of all concepts of the catalogue under the judge, where there is one.
    pub(super) fn named(subject: &S, catalogue: &Catalogue) -> Result<Option<Catalogue>, S::Error> {
        let names = catalogue.concepts();
        let Some(vectors) = subject.judged_names(&names)? else { return Ok(None) };
        let mut named = Catalogue::new(vectors.first().map_or(0, Vec::len));
        for (name, vector) in names.iter().zip(vectors) {
            named.add(name, &vector);
        }
        Ok(Some(named))
    }

    /// At most `most` texts of a kind that have their picture behind them, whose concept some picture of the catalogue shows,
    /// and that the model can read with a picture.
    pub(super) fn shown(
        &self,
        rows: &[SpanRow],
        (kind, most): (&str, usize),
        sampling: MediaSampling,
    ) -> Result<Option<ShownPictures>, S::Error> {
        let usable = rows.iter().filter(|row| row.kind == kind && self.catalogue.shows(&row.concept));
        let usable = usable.filter_map(|row| Some((&row.concept, row.illustrated()?)));
        let usable = usable.filter(|(_, parts)| !parts.before.is_empty() && parts.behind.is_empty());
        let rows: Vec<(&String, Illustrated<'_>)> = spread(usable.collect(), most);
        let picture = MediaKind::Picture;
        let wanted: Vec<Wanted<'_>> =
            rows.iter().map(|(_, parts)| Wanted { kind: picture, text: parts.before, codes: 0 }).collect();
        let begun = Instant::now();
        let made = self.subject.make(&wanted, sampling)?;
        let seconds = begun.elapsed().as_secs_f64();
        let nearest = |codes: &[u32]| self.catalogue.nearest(&self.subject.point(codes));
        let (mut hits, mut reconstructed) = (Share::default(), Share::default());
        let (mut chance, mut distance, mut true_distance) = (0.0, 0.0, 0.0);
        let names = self.named.as_ref().map(Catalogue::len);
        let none = Share::default();
        let judged = |names| JudgedPictures { names, made: none, reconstructions: none, originals: none };
        let mut judged = names.map(judged);
        let mut concepts = HashSet::new();
        for ((concept, parts), codes) in rows.into_iter().zip(made) {
            let Some(codes) = codes else { continue };
            concepts.insert(concept);
            let found = nearest(&codes);
            hits.add(found.is_some_and(|nearest| nearest.concept == concept));
            distance += found.map_or(0.0, |nearest| nearest.distance);
            chance += self.catalogue.chance(concept);
            if let Some(judged) = &mut judged {
                self.judge(Given::Codes(&codes), concept, &mut judged.made)?;
            }
            if let Some(codes) = self.subject.codes_of(picture, &parts.file)? {
                let again = self.subject.codes_again(picture, &codes)?;
                reconstructed.add(nearest(&again).is_some_and(|nearest| nearest.concept == concept));
                true_distance += nearest(&codes).map_or(0.0, |nearest| nearest.distance);
                if let Some(judged) = &mut judged {
                    self.judge(Given::Codes(&codes), concept, &mut judged.reconstructions)?;
                    self.judge(Given::File(&parts.file), concept, &mut judged.originals)?;
                }
            }
        }
        let count = hits.count as f64;
        Ok((hits.count > 0).then(|| ShownPictures {
            kind: kind.to_owned(),
            steps: sampling.steps,
            guidance_scale: sampling.guidance_scale,
            count: hits.count as usize,
            concepts: concepts.len(),
            hit_rate: hits.rate(),
            interval: hits.interval(),
            chance: chance / count,
            reconstruction_hit_rate: reconstructed.rate(),
            judged,
            distance: distance / count,
            true_distance: true_distance / reconstructed.count.max(1) as f64,
            seconds_each: seconds / count,
        }))
    }

    /// Counts whether the judge finds that a picture shows a concept.
    fn judge(&self, picture: Given<'_>, concept: &str, share: &mut Share) -> Result<(), S::Error> {
        if let (Some(named), Some(vector)) = (&self.named, self.subject.judged(picture)?) {
            share.add(named.nearest(&vector).is_some_and(|nearest| nearest.concept == concept));
        }
        Ok(())
    }
}
