//! In what form the model of a run is saved: whose words its files are in, and how to sample from it.

use crate::CodeFigures;
use crate::recipe::{NetworkPlan, Resolved};
use aquatint_checkpoint::{Checkpoint, Description, GenerationDefaults, ModelCodec};
use aquatint_evaluate::{CodesLikelihood, Likelihood};
use aquatint_network::NetworkSpec;
use aquatint_network::families::{self, Family};
use aquatint_vocabulary::{Role, Vocabulary};
use serde_json::{Map, Value};

/// What stands beside the weights of a saved model, but for its description and its tokenizer.
#[derive(Debug)]
pub(crate) struct SavedFormat {
    family: &'static dyn Family,
    tokenizer_config: Option<Value>,
    /// What makes codes of pictures and sounds.
    codecs: Vec<ModelCodec>,
    /// How to sample from it, where the objective says nothing else.
    pub(crate) generation: GenerationDefaults,
}

impl SavedFormat {
    /// Of a run with this network: of the family of `initial` where the network is that model's, else of our own.
    pub(crate) fn of(
        recipe: &Resolved,
        spec: &NetworkSpec,
        (vocabulary, codecs): (&Vocabulary, &[ModelCodec]),
        initial: Option<&Checkpoint>,
    ) -> Self {
        let codecs = codecs.to_vec();
        let advice = initial.filter(|checkpoint| is_alike(recipe, spec, &checkpoint.spec)).map(|it| &it.generation);
        let by_role = |advice: GenerationDefaults| {
            let role = |role| vocabulary.role(role);
            GenerationDefaults {
                mask_token_id: role(Role::Mask),
                eos_token_id: vocabulary.ends(),
                pad_token_id: role(Role::Pad),
                bos_token_id: role(Role::Begin),
                ..advice
            }
        };
        match (&recipe.network, initial) {
            (NetworkPlan::Initial(_), Some(checkpoint)) => Self {
                family: checkpoint.family,
                codecs,
                tokenizer_config: checkpoint.description().tokenizer_config.cloned(),
                generation: advice.cloned().unwrap_or_else(|| by_role(GenerationDefaults::default())),
            },
            _ => Self {
                family: families::NATIVE,
                codecs,
                tokenizer_config: None,
                // Keys that only the other model's family knows stay with it.
                generation: by_role(GenerationDefaults { others: Map::new(), ..advice.cloned().unwrap_or_default() }),
            },
        }
    }

    /// What the codes of each domain cost, by its name.
    pub(crate) fn code_figures(&self, likelihood: &Likelihood) -> Vec<CodeFigures> {
        let figures = |measured: &CodesLikelihood| {
            let codec = self.codecs.iter().find(|codec| codec.domain.ids == measured.ids)?;
            let (domain, codes) = (codec.name.clone(), measured.codes);
            Some(CodeFigures { domain, nats_per_code: measured.nats_per_code, codes })
        };
        likelihood.codes.iter().filter_map(figures).collect()
    }

    /// What is written beside the weights.
    pub(crate) fn description<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        vocabulary: &'a Vocabulary,
        generation: &'a GenerationDefaults,
    ) -> Description<'a> {
        let (family, tokenizer_config) = (self.family, self.tokenizer_config.as_ref());
        Description { family, spec, vocabulary, codecs: &self.codecs, generation, tokenizer_config }
    }
}

/// Whether what a run makes is sampled from as the model that it begins with: its process and layout have to be the same. A
/// student of distillation is made for other steps than its teacher.
fn is_alike(recipe: &Resolved, spec: &NetworkSpec, initial: &NetworkSpec) -> bool {
    recipe.distillation.is_none() && initial.process == spec.process && initial.attention == spec.attention
}
