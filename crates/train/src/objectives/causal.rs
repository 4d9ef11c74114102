//! The likelihood of each token given those before it in its document: the autoregressive baseline and judge.

use super::Registered;
use super::self_conditioning::SelfConditioning;
use crate::TrainError;
use crate::objective::{
    Figure, HeldOutCost, Objective, ObjectiveState, PER_TOKEN, Pass, PassCost, Setting, Step, TrainedModel,
};
use crate::recipe::ObjectiveKind;
use crate::train_data::TrainData;
use aquatint_batch::NoisyBatch;
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Process, TokenId};
use aquatint_evaluate::CausalLikelihood;
use aquatint_network::Learner;
use aquatint_vocabulary::Role;
use std::sync::Arc;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |recipe| recipe.objective.kind == ObjectiveKind::Causal,
    check: |_| Ok(()),
    canvases_together: |_| 1,
    begin: |setting| Ok(Box::new(Causal::begin(setting)?)),
};

#[derive(Debug)]
struct Causal {
    /// What stands before the first token of a document.
    begin: TokenId,
    self_conditioning: SelfConditioning,
    data: Arc<TrainData>,
}

impl Causal {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        Ok(Self {
            begin: setting.vocabulary.required(Role::Begin)?,
            self_conditioning: SelfConditioning::new(setting.recipe),
            data: setting.train_data()?,
        })
    }
}

impl Objective for Causal {
    fn process(&self) -> Option<&dyn Process> {
        None
    }

    fn batch(&mut self, step: Step<'_>, _: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        self.data.batch(step.number, step.canvases)
    }

    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let rows = pass.rows;
        let weight = 1.0 / pass.tokens as f64;
        let noisy = NoisyBatch::causal(rows, self.begin, weight);
        let prediction = self.self_conditioning.predict(model, pass, &noisy)?;
        let spec = model.spec().clone();
        let input = noisy.input(rows, &spec, prediction.as_deref());
        let costs = model.forward_backward(&input, &noisy.loss_rows().unwrap_or_default())?;
        Ok(PassCost { nats: costs.iter().map(|cost| weight * cost).sum(), observed: Vec::new() })
    }

    fn observe(&mut self, _: &[f64]) {}

    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        self.data
            .likelihood(model, &CausalLikelihood { begin: self.begin, prompt: 0 }, progress)
            .map(|likelihood| Some(likelihood.into()))
    }

    fn unit(&self) -> &'static str {
        PER_TOKEN
    }

    fn means(&mut self) -> Vec<Figure> {
        Vec::new()
    }

    fn describe_generation(&self, _: &mut GenerationDefaults) {}

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        Ok(ObjectiveState::default())
    }
}
