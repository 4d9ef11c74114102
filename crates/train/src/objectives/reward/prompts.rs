//! The prompts of a run, in memory as tokens: four bytes each.

use crate::objective::Setting;
use crate::recipe::Resolved;
use crate::{TrainError, TrainingEvent};
use aquatint_corpus::{Order, SourceReport, SourceSnapshot, spread};
use aquatint_diffusion::TokenId;
use aquatint_vocabulary::{Role, Vocabulary};
use std::sync::atomic::Ordering;

/// Texts that become tokens at once.
const TOGETHER: usize = 1024;

/// The prompts, each with what the data has as its completion.
#[derive(Debug)]
pub(crate) struct Prompts {
    tokens: Vec<TokenId>,
    /// Where each text ends among the tokens.
    ends: Vec<usize>,
    /// Which text comes where in an epoch: as often as its source repeats it.
    places: Vec<u32>,
    order: Order,
    layout: PromptLayout,
}

/// How a text is laid out.
#[derive(Debug, Clone, Copy)]
struct PromptLayout {
    /// Tokens of the prompt, a begin token among them, where the rest of a text is a completion; 0 where all of it is the
    /// prompt.
    prompt: usize,
    /// Positions of the completion, where all of a text is the prompt.
    completion: usize,
    canvas_length: usize,
    /// Stands behind a completion of known length, as behind the text itself in training.
    end: Option<TokenId>,
}

/// A prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prompt<'a> {
    pub(super) tokens: &'a [TokenId],
    /// What the data has behind it.
    pub(super) reference: Option<&'a [TokenId]>,
    /// Positions of a completion.
    pub(crate) length: usize,
    /// The token given behind it; `None` where the completion itself may hold an end.
    pub(super) end: Option<TokenId>,
}

impl PromptLayout {
    fn of(recipe: &Resolved, completion: usize, vocabulary: &Vocabulary) -> Self {
        let (prompt, canvas_length) = (recipe.objective.prompt, recipe.data.canvas_length);
        Self { prompt, completion, canvas_length, end: vocabulary.role(Role::End).filter(|_| prompt > 0) }
    }

    /// The prompt of a text; `None` where no canvas holds it with a completion. Nothing is a prompt, too: all of the canvas is
    /// open then, as where a text is generated behind nothing.
    fn lay_out<'a>(&self, text: &'a [TokenId]) -> Option<Prompt<'a>> {
        let (tokens, reference, length) = match self.prompt {
            0 => (text, None, self.completion),
            prompt => {
                let (tokens, rest) = text.split_at_checked(prompt)?;
                (tokens, Some(rest), rest.len())
            }
        };
        let used = tokens.len() + length + usize::from(self.end.is_some());
        let fits = length > 0 && used <= self.canvas_length;
        fits.then_some(Prompt { tokens, reference, length, end: self.end })
    }
}

impl Prompts {
    /// Reads the prompts of a recipe's sources to learn from, and reports those that no canvas holds.
    pub(crate) fn read(setting: &mut Setting<'_>, completion: usize, needed: usize) -> Result<Self, TrainError> {
        let texts = setting.texts;
        Self::of(&texts.train, "data.train", setting, completion, needed)
    }

    /// The same of the sources that are held out, where there are any.
    pub(crate) fn read_held_out(setting: &mut Setting<'_>, completion: usize) -> Result<Option<Self>, TrainError> {
        let texts = setting.texts;
        match texts.valid.is_empty() {
            true => Ok(None),
            false => Self::of(&texts.valid, "data.valid", setting, completion, 1).map(Some),
        }
    }

    fn of(
        snapshots: &[SourceSnapshot],
        key: &'static str,
        setting: &mut Setting<'_>,
        completion: usize,
        needed: usize,
    ) -> Result<Self, TrainError> {
        let layout = PromptLayout::of(setting.recipe, completion, setting.vocabulary);
        (setting.events)(TrainingEvent::Preparing("reading the prompts"));
        let (mut tokens, mut ends, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut left_out = 0u64;
        for snapshot in snapshots {
            let first = ends.len();
            let stop = setting.stop;
            let report = each_text(snapshot, &mut |texts| {
                if stop.load(Ordering::SeqCst) {
                    return Err(TrainError::Stopped);
                }
                for mut text in setting.vocabulary.encode_many(texts)? {
                    text.tokens.splice(0..0, setting.vocabulary.text_begin());
                    match layout.lay_out(&text.tokens) {
                        Some(_) => {
                            tokens.extend_from_slice(&text.tokens);
                            ends.push(tokens.len());
                        }
                        None => left_out += 1,
                    }
                }
                Ok(())
            })?;
            (setting.events)(TrainingEvent::Source { key, report: &report });
            for _ in 0..snapshot.source().repeat {
                places.extend(first as u32..ends.len() as u32);
            }
        }
        if left_out > 0 {
            let of = left_out + ends.len() as u64;
            let length = layout.canvas_length;
            let rule = match layout.prompt {
                0 => format!("leave no room for `reward.completion_length`, which is {completion}"),
                prompt => format!("have no completion behind `objective.prompt`, which is {prompt}, or are too long"),
            };
            let text = format!(
                "{left_out} of {of} texts of `{key}` {rule}, on a canvas of `data.canvas_length`, which is {length}; they are left out"
            );
            (setting.events)(TrainingEvent::Warning(&text));
        }
        if places.len() < needed {
            let (canvases, length) = (places.len(), layout.canvas_length);
            return Err(TrainError::TooLittle { key, canvases, length, needed });
        }
        let order = Order::new(setting.recipe.seed, places.len() as u64)?;
        Ok(Self { tokens, ends, places, order, layout })
    }

    /// At most so many of the texts, spread evenly.
    pub(crate) fn spread(&self, most: usize) -> Vec<Prompt<'_>> {
        let chosen = spread(self.ends.len() as u64, Some(most.max(1))).into_iter();
        chosen.filter_map(|index| self.layout.lay_out(self.text(index as usize))).collect()
    }

    /// The prompts of a rollout: a function of the recipe's seed and the rollout's number alone.
    pub(crate) fn of_rollout(&self, number: u64, count: usize) -> Vec<Prompt<'_>> {
        let places = self.order.batch(number, count).into_iter();
        places.filter_map(|place| self.layout.lay_out(self.text(self.places[place as usize] as usize))).collect()
    }

    fn text(&self, index: usize) -> &[TokenId] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.tokens[start..self.ends[index]]
    }
}

/// Hands the texts of a source on, many at once.
fn each_text(
    snapshot: &SourceSnapshot,
    work: &mut dyn FnMut(&[String]) -> Result<(), TrainError>,
) -> Result<SourceReport, TrainError> {
    let mut passages = snapshot.passages();
    let (mut texts, mut text) = (Vec::with_capacity(TOGETHER), String::new());
    let mut documents = 0;
    for passage in passages.by_ref() {
        let passage = passage?;
        text.push_str(&passage.text);
        if passage.ends_document {
            documents += 1;
            texts.push(std::mem::take(&mut text));
        }
        if texts.len() == TOGETHER {
            work(&texts)?;
            texts.clear();
        }
    }
    if !text.is_empty() {
        documents += 1;
        texts.push(text);
    }
    work(&texts)?;
    let (counts, unread) = (passages.counts().clone(), snapshot.unread().to_vec());
    Ok(SourceReport { path: snapshot.source().path.clone(), documents, counts, unread })
}
