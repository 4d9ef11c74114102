//! The vocabulary of a run: the recipe's, another model's, its own from before, or a new one.

use crate::recipe::{ObjectiveKind, Resolved, SourceRecipe};
use crate::{RecipeError, TrainError, TrainingEvent};
use aquatint_checkpoint::{Checkpoint, open_vocabulary};
use aquatint_corpus::{Source, sample};
use aquatint_vocabulary::{Role, Vocabulary, VocabularyError};

/// The vocabulary that the recipe names, or that of the model the run begins with, or that of this very run when it
/// was begun before, or a new one. A tokenizer without a mask, or without another token that the run needs, is given one.
pub(crate) fn of(recipe: &Resolved, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Vocabulary, TrainError> {
    let mut vocabulary = begin(recipe, events)?;
    let first = match recipe.objective.kind {
        ObjectiveKind::Causal => Role::Begin,
        ObjectiveKind::Diffusion => Role::Mask,
    };
    for role in [first, Role::End] {
        if vocabulary.role(role).is_none() {
            // Weights that are there have no row for it.
            if recipe.initial.is_some() {
                return Err(VocabularyError::MissingRole { role }.into());
            }
            let token = vocabulary.add_role(role)?;
            events(TrainingEvent::RoleAdded { role, token });
        }
    }
    Ok(vocabulary)
}

fn begin(recipe: &Resolved, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Vocabulary, TrainError> {
    let data = &recipe.data;
    if let Some(path) = &data.vocabulary {
        return Ok(open_vocabulary(path)?);
    }
    if let Some(folder) = &recipe.initial {
        // With the roles that the model's other files give.
        return Ok(Checkpoint::load(folder)?.vocabulary);
    }
    let own = recipe.output.join("tokenizer.json");
    if own.is_file() {
        return Ok(open_vocabulary(&own)?);
    }
    if data.train.is_empty() {
        let allowed = "a `tokenizer.json`, where there are no texts to train one on";
        return Err(RecipeError::value("data.vocabulary", "unset", allowed).into());
    }
    events(TrainingEvent::Preparing("training a vocabulary"));
    let sources: Vec<Source> = data.train.iter().map(SourceRecipe::source).collect();
    let texts = sample(&sources, data.vocabulary_bytes, &mut |_| true)?;
    let vocabulary = Vocabulary::train(texts.into_iter(), data.vocabulary_size)?;
    if vocabulary.len() > data.vocabulary_size {
        let allowed = "at least as many as there are bytes and special tokens";
        return Err(RecipeError::value("data.vocabulary_size", data.vocabulary_size.to_string(), allowed).into());
    }
    Ok(vocabulary)
}
