//! Instruction tuning: the bound of the answers in conversations, given all that is said to the model.
//!
//! What is given stays as it is at every time, and times are shares of the answers that are hidden (LLaDA, 2502.09992,
//! equation 5), of all answers that lie in one canvas. Masks that complement each other (`objective.masking`) show each
//! token of an answer once and hide it once in a step (LaViDa, 2505.16839, section 3.2).
//!
//! Deviation: LLaDA divides the loss of each conversation by the length of its answer; here each token of a step counts
//! alike, as in pre-training.

use super::Registered;
use super::bound::Bound;
use super::diffusion::canvases_together;
use crate::objective::{Figure, HeldOutCost, Objective, ObjectiveState, Pass, PassCost, Setting, Step, TrainedModel};
use crate::recipe::{ObjectiveKind, Resolved, SourceRecipe};
use crate::{RecipeError, TrainError};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::Process;
use aquatint_network::Learner;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |recipe| recipe.objective.kind == ObjectiveKind::Instruct,
    check,
    canvases_together,
    begin: |setting| Ok(Box::new(Instruct::begin(setting)?)),
};

fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    if recipe.initial.is_none() {
        let allowed =
            "\"diffusion\" or \"causal\" without `initial`: a model learns to write before it learns to answer";
        return Err(RecipeError::value("objective.kind", "\"instruct\"".to_owned(), allowed));
    }
    let mut sources = recipe.data.train.iter().chain(&recipe.data.valid);
    match sources.find_map(|SourceRecipe { media, .. }| media.as_ref()) {
        Some(media) => {
            let allowed = "nothing where `objective.kind` is \"instruct\": conversations are text";
            Err(RecipeError::value("media", media.display().to_string(), allowed))
        }
        None => Ok(()),
    }
}

/// The bound, on conversations.
#[derive(Debug)]
struct Instruct {
    bound: Bound,
    /// Positions up to which answers are filled with ends.
    answer_length: usize,
    /// Whether the model that the run begins with could answer already, by a template of its own.
    answered: bool,
}

impl Instruct {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let answered = setting.initial.is_some_and(|initial| initial.chat_template().is_ok());
        let answer_length = setting.recipe.objective.answer_length;
        Ok(Self { bound: Bound::begin(setting)?, answer_length, answered })
    }
}

impl Objective for Instruct {
    fn process(&self) -> Option<&dyn Process> {
        self.bound.process()
    }

    fn batch(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        self.bound.batch(step, model)
    }

    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        self.bound.forward_backward(pass, model)
    }

    fn observe(&mut self, observed: &[f64]) {
        self.bound.observe(observed);
    }

    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        self.bound.validate(model, progress)
    }

    fn unit(&self) -> &'static str {
        self.bound.unit()
    }

    fn means(&mut self) -> Vec<Figure> {
        self.bound.means()
    }

    /// Answers are as long as they were learned. What is advised for the prose of a model that could not answer (chance,
    /// no word twice) is no advice for answers, which repeat words of what they answer.
    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        self.bound.describe_generation(defaults);
        if self.answer_length > 0 {
            defaults.max_new_tokens = Some(self.answer_length);
        }
        if !self.answered {
            (defaults.temperature, defaults.top_p, defaults.repetition_penalty) = (Some(0.0), None, None);
            if self.answer_length > 0 {
                let length = defaults.block_length.map_or(self.answer_length, |length| length.min(self.answer_length));
                (defaults.block_length, defaults.steps) = (Some(length), Some(length));
            }
        }
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        self.bound.state()
    }
}
