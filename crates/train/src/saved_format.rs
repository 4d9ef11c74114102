//! In what form the model of a run is saved: whose words its files are in, and how to sample from it.

use crate::CodeFigures;
use crate::TrainError;
use crate::recipe::{NetworkPlan, ObjectiveKind, Resolved};
use aquatint_checkpoint::{
    AdapterConfig, AdapterDescription, Checkpoint, Description, GenerationDefaults, ModelCodec, name_marks,
};
use aquatint_evaluate::{CodesLikelihood, Likelihood};
use aquatint_network::families::{self, Family};
use aquatint_network::{NetworkKind, NetworkSpec};
use aquatint_vocabulary::{ChatError, ChatTemplate, Role, Vocabulary};
use serde_json::{Map, Value};

/// What stands beside the weights of a saved model, but for its description and its tokenizer.
#[derive(Debug)]
pub(crate) struct SavedFormat {
    family: &'static dyn Family,
    tokenizer_config: Option<Value>,
    /// What makes codes of pictures and sounds.
    codecs: Vec<ModelCodec>,
    /// What is said of the adapter, where only that is saved.
    adapter: Option<AdapterConfig>,
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
        let conversing = conversing(recipe, vocabulary, initial);
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
                adapter: recipe.adapter.as_ref().map(|adapter| adapter.config(recipe.initial.as_deref())),
                // Beside an adapter stands only what is otherwise than in the model's folder.
                tokenizer_config: match recipe.adapter {
                    Some(_) => conversing,
                    None => {
                        beginning(conversing.or(checkpoint.description().tokenizer_config.cloned()), spec, vocabulary)
                    }
                },
                generation: advice.cloned().unwrap_or_else(|| by_role(GenerationDefaults::default())),
            },
            _ => Self {
                family: families::NATIVE,
                codecs,
                adapter: None,
                tokenizer_config: beginning(conversing, spec, vocabulary),
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

    /// What is written beside the weights of an adapter, where only that is saved.
    pub(crate) fn adapter_description<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        generation: &'a GenerationDefaults,
    ) -> Option<AdapterDescription<'a>> {
        let (config, [adapter]) = (self.adapter.as_ref()?, &spec.adapters[..]) else { return None };
        let (family, tokenizer_config) = (self.family, self.tokenizer_config.as_ref());
        Some(AdapterDescription { config, adapter, family, generation: Some(generation), tokenizer_config })
    }
}

/// A `tokenizer_config.json` that says of begin tokens what is true of the texts of this run. It says nothing where they have
/// none and nothing is said; of a causal network, which reads one in front whatever is said, its words are for other programs
/// and stay.
fn beginning(config: Option<Value>, spec: &NetworkSpec, vocabulary: &Vocabulary) -> Option<Value> {
    let begins = vocabulary.text_begin().is_some();
    let is_stated = config.as_ref().is_some_and(|config| config["add_bos_token"].is_boolean());
    if spec.kind() == NetworkKind::Causal || !(begins || is_stated) {
        return config;
    }
    let mut config = config.filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
    config["add_bos_token"] = begins.into();
    name_marks(&mut config, vocabulary);
    Some(config)
}

/// What a `tokenizer_config.json` says of a model that learns from conversations: their template, which is the recipe's,
/// or that of `initial`, or the plain one, with the tokens that it writes. `None` for other runs.
pub(crate) fn conversing(recipe: &Resolved, vocabulary: &Vocabulary, initial: Option<&Checkpoint>) -> Option<Value> {
    match recipe.objective.kind {
        ObjectiveKind::Instruct => {}
        // Texts need no template; one that the recipe gives is saved.
        ObjectiveKind::Preference if recipe.objective.chat_template.is_some() => {}
        _ => return None,
    }
    let of_initial = initial.and_then(|checkpoint| checkpoint.description().tokenizer_config.cloned());
    let mut config = of_initial.filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
    let of_family = || initial.and_then(|checkpoint| checkpoint.family.facts().chat_template);
    if let Some(source) = &recipe.objective.chat_template {
        config["chat_template"] = source.as_str().into();
    } else if config["chat_template"].is_null() {
        config["chat_template"] = of_family().unwrap_or(ChatTemplate::PLAIN).into();
    }
    name_marks(&mut config, vocabulary);
    Some(config)
}

/// The template of such a model, as it will be read from its folder.
pub(crate) fn chat_template(
    recipe: &Resolved,
    vocabulary: &Vocabulary,
    initial: Option<&Checkpoint>,
) -> Result<ChatTemplate, TrainError> {
    let config = conversing(recipe, vocabulary, initial).unwrap_or_default();
    let family = match (&recipe.network, initial) {
        (NetworkPlan::Initial(_), Some(checkpoint)) => checkpoint.family,
        _ => families::NATIVE,
    };
    let variables = family.facts().chat_variables.iter();
    let template = ChatTemplate::from_config(&config)?;
    Ok(variables.fold(template, |template, (name, value)| template.with_variable(name, *value)))
}

/// The template of a model that learns from preferences, which may all be texts: that of the recipe, or of `initial`; `None`
/// where neither has one.
pub(crate) fn chat_template_if_any(
    recipe: &Resolved,
    vocabulary: &Vocabulary,
    initial: Option<&Checkpoint>,
) -> Result<Option<ChatTemplate>, TrainError> {
    if recipe.objective.chat_template.is_some() {
        return chat_template(recipe, vocabulary, initial).map(Some);
    }
    match initial.map(Checkpoint::chat_template) {
        None | Some(Err(ChatError::Missing)) => Ok(None),
        Some(template) => Ok(Some(template?)),
    }
}

/// Whether what a run makes is sampled from as the model that it begins with: its process and layout have to be the same. A
/// student of distillation is made for other steps than its teacher.
fn is_alike(recipe: &Resolved, spec: &NetworkSpec, initial: &NetworkSpec) -> bool {
    recipe.distillation.is_none() && initial.process == spec.process && initial.attention == spec.attention
}
