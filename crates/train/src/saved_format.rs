//! In what form the model of a run is saved: whose words its files are in, and how to sample from it.

use crate::recipe::{NetworkPlan, Resolved};
use aquatint_checkpoint::{Checkpoint, Description, GenerationDefaults};
use aquatint_network::NetworkSpec;
use aquatint_network::families::{self, Family};
use aquatint_vocabulary::{Role, Vocabulary};
use serde_json::{Map, Value};

/// What stands beside the weights of a saved model, but for its description and its tokenizer.
#[derive(Debug)]
pub(crate) struct SavedFormat {
    family: &'static dyn Family,
    tokenizer_config: Option<Value>,
    /// How to sample from it, where the objective says nothing else.
    pub(crate) generation: GenerationDefaults,
}

impl SavedFormat {
    /// Of a run with this network: of the family of `initial` where the network is that model's, else of our own.
    pub(crate) fn of(
        recipe: &Resolved,
        spec: &NetworkSpec,
        vocabulary: &Vocabulary,
        initial: Option<&Checkpoint>,
    ) -> Self {
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
                tokenizer_config: checkpoint.description().tokenizer_config.cloned(),
                generation: advice.cloned().unwrap_or_else(|| by_role(GenerationDefaults::default())),
            },
            _ => Self {
                family: families::NATIVE,
                tokenizer_config: None,
                // Keys that only the other model's family knows stay with it.
                generation: by_role(GenerationDefaults { others: Map::new(), ..advice.cloned().unwrap_or_default() }),
            },
        }
    }

    /// What is written beside the weights.
    pub(crate) fn description<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        vocabulary: &'a Vocabulary,
        generation: &'a GenerationDefaults,
    ) -> Description<'a> {
        let (family, tokenizer_config) = (self.family, self.tokenizer_config.as_ref());
        Description { family, spec, vocabulary, generation, tokenizer_config }
    }
}

/// Whether what a run makes is sampled from as the model that it begins with: its process and layout have to be the same. A
/// student of distillation is made for other steps than its teacher.
fn is_alike(recipe: &Resolved, spec: &NetworkSpec, initial: &NetworkSpec) -> bool {
    recipe.distillation.is_none() && initial.process == spec.process && initial.attention == spec.attention
}
