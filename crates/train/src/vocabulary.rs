//! The vocabulary of a run: the recipe's, another model's, its own from before, or a new one.

use crate::recipe::{NetworkPlan, ObjectiveKind, Resolved, SourceRecipe};
use crate::{RecipeError, TrainError, TrainingEvent};
use aquatint_checkpoint::{Checkpoint, open_vocabulary};
use aquatint_corpus::{Source, sample};
use aquatint_network::NetworkKind;
use aquatint_vocabulary::{PreTokenizer, Role, Vocabulary, VocabularyError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often the flag to stop is read while a vocabulary is trained.
const POLL: Duration = Duration::from_millis(50);

/// The vocabulary that the recipe names, or that of the model the run begins with, or that of this very run where it is
/// resumed; `None` where one is to be trained. A tokenizer without a mask, or without another token that the run needs, is
/// given one.
pub(crate) fn known(
    recipe: &Resolved,
    initial: Option<&Checkpoint>,
    resumed: bool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Option<Vocabulary>, TrainError> {
    let own = recipe.output.join("tokenizer.json");
    let mut vocabulary = match (&recipe.data.vocabulary, initial) {
        (Some(path), _) => open_vocabulary(path)?,
        // With the roles that the model's other files give.
        (None, Some(checkpoint)) => checkpoint.vocabulary.clone(),
        // A run that was killed within its first save may have none.
        (None, None) if resumed && own.is_file() => open_vocabulary(&own)?,
        (None, None) => return Ok(None),
    };
    let first = match recipe.objective.kind {
        ObjectiveKind::Causal => Some(Role::Begin),
        // A model that undoes a process without masks may have none.
        _ if initial.is_some_and(|checkpoint| reads_no_mask(recipe, checkpoint)) => None,
        _ => Some(Role::Mask),
    };
    let begin = (recipe.data.add_bos_token == Some(true)).then_some(Role::Begin);
    for role in first.into_iter().chain([Role::End]).chain(begin) {
        if vocabulary.role(role).is_none() {
            // Weights that are there have no row for it.
            if initial.is_some() {
                return Err(VocabularyError::MissingRole { role }.into());
            }
            let token = vocabulary.add_role(role)?;
            events(TrainingEvent::RoleAdded { role, token });
        }
    }
    begin_texts(recipe, &mut vocabulary)?;
    Ok(Some(vocabulary))
}

/// Has each text begin with a begin token, or not, as the recipe says. A causal network reads one in front of all texts
/// whatever is said.
fn begin_texts(recipe: &Resolved, vocabulary: &mut Vocabulary) -> Result<(), VocabularyError> {
    match (recipe.objective.kind, recipe.data.add_bos_token) {
        (ObjectiveKind::Causal, _) => vocabulary.set_adds_begin(false),
        (_, Some(adds_begin)) => vocabulary.set_adds_begin(adds_begin),
        (_, None) => Ok(()),
    }
}

/// Whether the network is that of a model of diffusion that has no mask.
fn reads_no_mask(recipe: &Resolved, checkpoint: &Checkpoint) -> bool {
    let spec = &checkpoint.spec;
    matches!(recipe.network, NetworkPlan::Initial(_)) && spec.kind() != NetworkKind::Causal && spec.mask_token.is_none()
}

/// That there is nothing to train a vocabulary on.
pub(crate) fn missing() -> TrainError {
    let allowed = "a `tokenizer.json`, where there are no texts to train one on";
    RecipeError::value("data.vocabulary", "unset", allowed).into()
}

/// Trains a vocabulary on the texts of a recipe.
pub(crate) fn train(
    recipe: &Resolved,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Vocabulary, TrainError> {
    let data = &recipe.data;
    events(TrainingEvent::Preparing("training a vocabulary"));
    let sources: Vec<Source> = data.train.iter().map(SourceRecipe::source).collect();
    let texts = sample(&sources, data.vocabulary_bytes, &mut |_| !stop.load(Ordering::SeqCst))?;
    let mut vocabulary = learn(texts, (data.vocabulary_size, data.pre_tokenizer), stop)?;
    begin_texts(recipe, &mut vocabulary)?;
    if vocabulary.len() > data.vocabulary_size {
        let allowed = "at least as many as there are bytes and special tokens";
        return Err(RecipeError::value("data.vocabulary_size", data.vocabulary_size.to_string(), allowed).into());
    }
    Ok(vocabulary)
}

/// Trains on a thread of its own, since merges are counted in one long call that nothing interrupts: where the run is
/// stopped, the thread is left behind and its result is dropped.
pub(crate) fn learn(
    texts: Vec<String>,
    (size, rule): (usize, PreTokenizer),
    stop: &AtomicBool,
) -> Result<Vocabulary, TrainError> {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || {
        // Nobody may be there to receive it.
        let _ = sender.send(Vocabulary::train_cut_by(rule, texts.into_iter(), size));
    });
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(trained) => return Ok(trained?),
            Err(RecvTimeoutError::Timeout) if stop.load(Ordering::SeqCst) => return Err(TrainError::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                // It sends before it ends.
                Ok(()) => return Err(TrainError::Stopped),
            },
        }
    }
}
