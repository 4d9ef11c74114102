//! Picture or sound to words: whether the first words behind it name what it shows or says.

use super::rows::WORD;
use super::{Captioned, Given, Illustrated, SpanBench, SpanRow, SpanSubject, spread};
use crate::{Share, says};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// The kind of rows that name what their picture shows.
pub(super) const CAPTION: &str = "caption";
/// First words among which the name of what is shown or said has to be.
pub(super) const WORDS: usize = 8;

/// How often the first words behind pictures or sounds name what they show or say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedSpans {
    /// The language of the words, and of sounds where they come from.
    pub lang: String,
    /// Pictures or sounds.
    pub count: usize,
    /// The share of them that are named.
    pub hit_rate: f64,
    /// The interval of Wilson at 95 % of that share.
    pub interval: [f64; 2],
    /// Seconds for each, from it on.
    pub seconds_each: f64,
}

impl<S: SpanSubject> SpanBench<'_, S> {
    /// Pictures that have their caption behind them, by language; that of another language than English stands behind its
    /// name (`de: Fuchs`), which is given.
    pub(super) fn captions(&self, rows: &[SpanRow], most: usize, seed: u64) -> Result<Vec<NamedSpans>, S::Error> {
        let rows = rows.iter().filter(|row| row.kind == CAPTION);
        let rows = rows.filter_map(|row| Some((row.lang.clone(), row.illustrated()?)));
        self.named_spans(MediaKind::Picture, rows, most, seed)
    }

    /// Sounds that have their words behind them, by where they come from.
    pub(super) fn heard(&self, rows: &[SpanRow], most: usize, seed: u64) -> Result<Vec<NamedSpans>, S::Error> {
        let rows = rows.iter().filter(|row| row.kind == WORD);
        let rows = rows.filter_map(|row| Some((row.group(), row.spoken()?)));
        self.named_spans(MediaKind::Sound, rows, most, seed)
    }

    fn named_spans<'r>(
        &self,
        kind: MediaKind,
        rows: impl Iterator<Item = (String, Illustrated<'r>)>,
        most: usize,
        seed: u64,
    ) -> Result<Vec<NamedSpans>, S::Error> {
        let mut groups: BTreeMap<String, Vec<Illustrated<'r>>> = BTreeMap::new();
        for (group, parts) in rows.filter(|(_, parts)| parts.before.is_empty() && !parts.behind.trim().is_empty()) {
            groups.entry(group).or_default().push(parts);
        }
        let mut measured = Vec::new();
        for (lang, rows) in groups {
            let rows = spread(rows, most);
            let captioned: Vec<Captioned<'_>> = rows
                .iter()
                .map(|Illustrated { file, behind, .. }| {
                    let given = Given::File(file);
                    match behind.find(": ") {
                        Some(colon) if behind[..colon].trim() == lang => {
                            Captioned { kind, given, lead: &behind[..=colon], name: &behind[colon + 2..] }
                        }
                        _ => Captioned { kind, given, lead: "", name: behind },
                    }
                })
                .collect();
            let begun = Instant::now();
            let hits: Share = self.said(&captioned, seed)?.into_iter().flatten().collect();
            let seconds = begun.elapsed().as_secs_f64();
            if hits.count == 0 {
                continue;
            }
            let (count, seconds_each) = (hits.count as usize, seconds / hits.count as f64);
            measured.push(NamedSpans { lang, count, hit_rate: hits.rate(), interval: hits.interval(), seconds_each });
        }
        measured.sort_by(|a, b| b.count.cmp(&a.count).then(a.lang.cmp(&b.lang)));
        Ok(measured)
    }

    /// Whether each is named by the first words that are written behind it; `None` where the model cannot read it.
    pub(super) fn said(&self, captioned: &[Captioned<'_>], seed: u64) -> Result<Vec<Option<bool>>, S::Error> {
        let words = self.subject.words(captioned, seed)?;
        let said = |(of, words): (&Captioned<'_>, Option<String>)| Some(says(&words?, of.name, WORDS));
        Ok(captioned.iter().zip(words).map(said).collect())
    }
}
