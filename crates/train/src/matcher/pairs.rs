//! The pairs of a run: pictures with all that is said of each, in an order that can resume at any step.

use crate::codec::Vary;
use crate::recipe::{PairSource, ResolvedMatcher};
use crate::{RecipeError, TrainError};
use aquatint_codec::collection::Entries;
use aquatint_codec::{CodecError, MatchedPair, Picture, Pictures};
use aquatint_corpus::Order;
use aquatint_diffusion::Key;
use aquatint_evaluate::spans::SpanRow;
use aquatint_files::Fingerprint;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// The kind of rows that are read.
const CAPTION: &str = "caption";

/// A picture, what it shows, and what is said of it.
#[derive(Debug)]
pub(super) struct Captioned {
    pub(super) picture: Picture,
    /// Among [`PairSet::concepts`].
    pub(super) concept: u32,
    /// At least one, each once.
    pub(super) captions: Vec<String>,
}

/// Pictures with their captions.
#[derive(Debug, Default)]
pub(super) struct PairSet {
    pub(super) pictures: Vec<Captioned>,
    /// The names of what they show.
    pub(super) concepts: Vec<String>,
}

impl PairSource {
    fn rows(&self) -> Result<Vec<SpanRow>, TrainError> {
        let text = std::fs::read_to_string(&self.path).map_err(|source| self.unread(source))?;
        let rows = SpanRow::read_all(&text).map_err(|error| self.unread(std::io::Error::other(error)))?;
        Ok(rows)
    }

    fn unread(&self, source: std::io::Error) -> CodecError {
        CodecError::io("read", &self.path, source)
    }

    /// The rows and the pictures, in a few words that change with them and not with their places.
    pub(super) fn fingerprint(&self, go_on: &mut dyn FnMut() -> bool) -> Result<String, TrainError> {
        let mut fingerprint = Fingerprint::default();
        let whole = fingerprint.file(&self.path, &mut |_| go_on()).map_err(|source| self.unread(source))?;
        if !whole {
            return Err(TrainError::Stopped);
        }
        let named: BTreeMap<String, ()> =
            self.rows()?.iter().filter_map(|row| Some((row.illustrated()?.file, ()))).collect();
        let pictures = Entries { path: &self.media }.fingerprint(&|name| named.contains_key(name), go_on)?;
        Ok(format!("{:016x} of {pictures}", fingerprint.finish()))
    }
}

impl PairSet {
    /// Reads sources. `go_on` is called every so often.
    pub(super) fn read(
        sources: &[PairSource],
        recipe: &ResolvedMatcher,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, TrainError> {
        let (mut set, mut numbers) = (Self::default(), HashMap::new());
        for source in sources {
            // By name, so that the order is the same however an archive or a folder is read.
            let mut captioned: BTreeMap<String, (u32, Vec<String>)> = BTreeMap::new();
            let languages = &recipe.data.languages;
            let wanted =
                |row: &&SpanRow| row.kind == CAPTION && (languages.is_empty() || languages.contains(&row.lang));
            for row in source.rows()?.iter().filter(wanted) {
                let Some(parts) = row.illustrated() else { continue };
                let caption = match (parts.before.trim(), parts.behind.trim()) {
                    (caption, "") | ("", caption) if !caption.is_empty() => caption.to_owned(),
                    _ => continue,
                };
                let concept = *numbers.entry(row.concept.clone()).or_insert_with(|| {
                    set.concepts.push(row.concept.clone());
                    set.concepts.len() as u32 - 1
                });
                let (_, captions) = captioned.entry(parts.file).or_insert((concept, Vec::new()));
                if !captions.contains(&caption) {
                    captions.push(caption);
                }
            }
            let mut pictures = BTreeMap::new();
            let read =
                Entries { path: &source.media }.each(&|name| captioned.contains_key(name), &mut |name, bytes| {
                    let picture = Picture::decode_fitted(&name, bytes, recipe.matcher.size)?;
                    pictures.insert(name, picture);
                    if go_on() { Ok(()) } else { Err(CodecError::Stopped) }
                });
            read?;
            let Some(missing) = captioned.keys().find(|name| !pictures.contains_key(*name)) else {
                let both = captioned.into_values().zip(pictures.into_values());
                let all = both.map(|((concept, captions), picture)| Captioned { picture, concept, captions });
                set.pictures.extend(all);
                continue;
            };
            let given = format!("`{}` without `{missing}`", source.media.display());
            let allowed = "an archive or a folder with all pictures that `path` names";
            return Err(RecipeError::value("media", given, allowed).into());
        }
        Ok(set)
    }

    /// At most so many of them, spread evenly, each with its first caption.
    pub(super) fn spread(&self, most: usize) -> impl Iterator<Item = MatchedPair<'_>> {
        let (count, most) = (self.pictures.len(), most.max(1));
        let chosen = move |index: &usize| count <= most || index * most / count != (index + 1) * most / count;
        let pictures = self.pictures.iter().enumerate().filter(move |(index, _)| chosen(index));
        pictures.map(|(_, of)| MatchedPair { picture: &of.picture, text: &of.captions[0], label: of.concept })
    }
}

/// Pictures to learn from, in their order.
#[derive(Debug)]
pub(super) struct ShuffledPairs {
    pub(super) set: PairSet,
    order: Order,
    key: Key,
    vary: bool,
}

impl ShuffledPairs {
    pub(super) fn new(set: PairSet, recipe: &ResolvedMatcher) -> Result<Self, TrainError> {
        let (given, needed) = (set.pictures.len(), recipe.optimiser.batch);
        if given < needed {
            return Err(TrainError::FewSamples { key: "data.train", given, kind: "pictures", needed });
        }
        let order = Order::new(recipe.seed, given as u64)?;
        Ok(Self { set, order, key: Key::new(recipe.seed), vary: recipe.data.vary })
    }

    /// The pictures of a step, each with one of its captions: a function of the recipe's seed and the step alone.
    pub(super) fn batch(&self, step: u64, count: usize) -> Vec<(Cow<'_, Picture>, &str, u32)> {
        let pair = |(place, number): (usize, u64)| {
            let of = &self.set.pictures[number as usize];
            let mut draws = self.key.at(place as u64, step);
            let caption = &of.captions[draws.below(of.captions.len() as u64) as usize];
            let picture = match self.vary {
                true => Cow::Owned(Pictures::varied(&of.picture, &mut draws)),
                false => Cow::Borrowed(&of.picture),
            };
            (picture, caption.as_str(), of.concept)
        };
        self.order.batch(step, count).into_iter().enumerate().map(pair).collect()
    }
}
