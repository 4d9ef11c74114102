//! How a model is used with an adapter: the chat template and the advice on sampling in the adapter's folder stand in place
//! of the model's own.
//!
//! PEFT writes neither; transformers writes `generation_config.json` beside an adapter that it saves, and trainers
//! `tokenizer_config.json` or `chat_template.jinja` with the template that they used. Of the tokenizer nothing else is read:
//! text becomes tokens, and tokens have their roles, as the model says.

use super::{Adapter, TOKENIZER_CONFIG};
use crate::read::read_optional;
use crate::{Checkpoint, CheckpointError, GenerationDefaults, order, roles};
use aquatint_diffusion::OrderNetwork;
use aquatint_vocabulary::{ChatError, ChatTemplate, Role};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// What the folder of an adapter says of its use.
#[derive(Debug, Default)]
pub(super) struct Advice {
    /// How to sample.
    generation: Option<GenerationDefaults>,
    /// The model's `tokenizer_config.json` with the adapter's template.
    tokenizer_config: Option<Value>,
}

impl Advice {
    /// Reads what is there, for the model that the adapter stands beside.
    pub(super) fn load(folder: &Path, base: &Checkpoint) -> Result<Self, CheckpointError> {
        let own = GenerationDefaults::load_beside(folder, base.family, &base.generation)?;
        let generation = match (own, order::open(folder)?) {
            (None, None) => None,
            (own, order) => {
                let mut generation = own.unwrap_or_else(|| base.generation.clone());
                generation.order = order.or_else(|| base.generation.order.clone());
                Some(generation)
            }
        };
        let file = folder.join(TOKENIZER_CONFIG);
        let own: Value = match read_optional(&file)? {
            Some(text) => serde_json::from_slice(&text).map_err(|error| CheckpointError::Json {
                file: file.display().to_string(),
                reason: error.to_string(),
            })?,
            None => Value::Null,
        };
        let template = match read_optional(&folder.join("chat_template.jinja"))? {
            Some(template) => String::from_utf8_lossy(&template).into(),
            None => own["chat_template"].clone(),
        };
        if template.is_null() {
            return Ok(Self { generation, tokenizer_config: None });
        }
        let of_base = Some(&base.tokenizer_config).filter(|config| config.is_object());
        let mut config = of_base.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        config["chat_template"] = template;
        roles::name_marks(&mut config, &base.vocabulary);
        Ok(Self { generation, tokenizer_config: Some(config) })
    }
}

impl Checkpoint {
    /// The adapter that its networks apply where none is chosen.
    pub fn first_adapter(&self) -> Option<&str> {
        self.spec.adapters.first().map(|adapter| adapter.name.as_str())
    }

    /// Has all of its networks commit by a learnt order, where that is requested.
    pub(crate) fn set_order(&mut self, order: &Arc<OrderNetwork>) {
        let advised = self.adapters.iter_mut().filter_map(|adapter| adapter.advice.generation.as_mut());
        for generation in advised.chain([&mut self.generation]) {
            generation.order = Some(Arc::clone(order));
        }
    }

    fn advice(&self, adapter: Option<&str>) -> Option<&Advice> {
        let adapters = self.adapters.iter().find(|there: &&Adapter| Some(there.spec.name.as_str()) == adapter);
        adapters.map(|adapter| &adapter.advice)
    }

    /// How to sample with one of its adapters, or with none: as the adapter's folder advises, or else the model's.
    pub fn generation_with(&self, adapter: Option<&str>) -> &GenerationDefaults {
        self.advice(adapter).and_then(|advice| advice.generation.as_ref()).unwrap_or(&self.generation)
    }

    /// Its `tokenizer_config.json` with one of its adapters, or with none; null where there is none.
    pub(crate) fn tokenizer_config_with(&self, adapter: Option<&str>) -> &Value {
        self.advice(adapter).and_then(|advice| advice.tokenizer_config.as_ref()).unwrap_or(&self.tokenizer_config)
    }

    /// The template of conversations with one of its adapters, or with none: the one of the adapter's folder, or else that of
    /// the model's (`chat_template.jinja`, or in `tokenizer_config.json`), or its family's, with the variables that the family
    /// gives to it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn chat_template_with(&self, adapter: Option<&str>) -> Result<ChatTemplate, ChatError> {
        let variables = self.family.facts().chat_variables.iter();
        let config = self.tokenizer_config_with(adapter);
        let template = match (ChatTemplate::from_config(config), self.family.facts().chat_template) {
            (Err(ChatError::Missing), Some(source)) => {
                let token = |role| self.vocabulary.role(role).map(|id| self.vocabulary.token_text(id));
                let text = |role| token(role).unwrap_or_default();
                ChatTemplate::new(source, &text(Role::Begin), &text(Role::End))
            }
            (template, _) => template,
        }?;
        Ok(variables.fold(template, |template, (name, value)| template.with_variable(name, *value)))
    }

    /// The template of conversations with the first of its adapters, where it has any.
    ///
    /// # Errors
    /// As [`Checkpoint::chat_template_with`].
    pub fn chat_template(&self) -> Result<ChatTemplate, ChatError> {
        self.chat_template_with(self.first_adapter())
    }
}
