//! Families of checkpoints. Each file here has everything about one of them: how its `config.json` reads as a
//! [`NetworkSpec`] and back, what its files call tensors, which tokens have a role, and how its makers sample and chat.
//! Nothing about a family stands anywhere else.
//!
//! To add one: write its file, and its line in [`FAMILIES`].

pub mod a2d;
pub mod bd3lm;
mod chat;
mod config;
pub mod diffusion_gemma;
mod dit;
pub mod dream;
mod experts;
pub mod fast_dllm_v2;
pub mod gguf;
mod hugging_face;
pub mod llada;
pub mod llada2_moe;
pub mod llada_moe;
pub mod mdlm;
pub mod mmada;
pub mod native;
pub mod nemotron_labs_diffusion;
mod qwen;
pub mod rnd1;
mod rope;
pub mod sdar;
pub mod sdar_moe;
pub mod sedd;

use crate::{NetworkError, NetworkSpec};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// An object of a JSON file.
pub type Object = Map<String, Value>;

/// All families.
pub const FAMILIES: [&dyn Family; 17] = [
    NATIVE,
    &llada::Llada,
    &llada_moe::LladaMoe,
    &llada2_moe::Llada2Moe,
    &mmada::Mmada,
    &dream::Dream,
    &sdar::Sdar,
    &sdar_moe::SdarMoe,
    &fast_dllm_v2::FastDllmV2,
    &rnd1::Rnd1,
    &mdlm::Mdlm,
    &bd3lm::Bd3lm,
    &sedd::Sedd,
    &a2d::A2D_QWEN2,
    &a2d::A2D_QWEN3,
    &nemotron_labs_diffusion::NemotronLabsDiffusion,
    &diffusion_gemma::DiffusionGemma,
];

/// The family of the models that are trained here.
pub const NATIVE: &dyn Family = &native::Native;

/// What is constant about a family. Begin with [`FamilyFacts::new`] and set what differs.
#[derive(Debug, Clone, Copy)]
pub struct FamilyFacts {
    /// `model_type` in its `config.json`.
    pub model_type: &'static str,
    /// The one of `architectures` in its `config.json` that tells it from another family of the same `model_type`; `None`
    /// for a family that has all others of its `model_type`.
    pub architecture: Option<&'static str>,
    /// Whether a `config.json` without `model_type` is one of its own; `None` where all of its own have one.
    pub untyped: Option<fn(&Object) -> bool>,
    /// What its tokenizer calls the mask, for a `config.json` without `mask_token_id`.
    pub mask_token: Option<&'static str>,
    /// What its files call modules (tensors without `.weight` or `.bias`), or single tensors by their whole names, where
    /// that differs: pairs of the name here and the name there, with a `*` for the number of a layer, and a second for that
    /// of an expert.
    pub names: &'static [(&'static str, &'static str)],
    /// Tensors of its files that hold what several tensors are here.
    pub stacked: &'static [StackedTensor],
    /// Tensors of its files that hold nothing that a network needs: they are passed over, and not written again. A `*` in
    /// the end stands for any rest of a name.
    pub unread_tensors: &'static [&'static str],
    /// Keys of its `config.json` whose values are objects that have keys of [`Family::config_keys`] themselves.
    pub sections: &'static [&'static str],
    /// Statements about roles that its makers' own code does not follow and that others contradict: pairs of a file and one
    /// of its keys. They are passed over.
    pub ignored_roles: &'static [(&'static str, &'static str)],
    /// Whether keys of its `generation_config.json` that mean nothing here are kept; they are refused otherwise.
    pub keeps_other_generation_keys: bool,
    /// Keys of its `config.json` that say how its makers sample, with the names that its `generation_config.json` has for
    /// them.
    pub sampling_keys: &'static [(&'static str, &'static str)],
    /// Its chat template in Jinja, for folders that have none.
    pub chat_template: Option<&'static str>,
    /// Variables that its makers give to a chat template beside the usual ones.
    pub chat_variables: &'static [(&'static str, bool)],
}

impl FamilyFacts {
    /// A family of others' that names everything as it is named here, and has no chat template.
    pub const fn new(model_type: &'static str) -> Self {
        Self {
            model_type,
            architecture: None,
            untyped: None,
            mask_token: None,
            names: &[],
            stacked: &[],
            unread_tensors: &[],
            sections: &[],
            ignored_roles: &[],
            keeps_other_generation_keys: true,
            sampling_keys: &[],
            chat_template: None,
            chat_variables: &[],
        }
    }
}

/// A tensor of files that holds the matrices of all experts of a layer, `[experts, rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct StackedTensor {
    /// What files call it, with a `*` for the number of the layer.
    pub name: &'static str,
    /// What files call its parts where they are apart, with a second `*` for that of the expert: each expert's rows are
    /// theirs in equal shares, one behind the other.
    pub parts: &'static [&'static str],
}

impl StackedTensor {
    /// The names of the parts of each of so many experts in a tensor of this name; `None` where it is another one.
    pub fn parts(&self, name: &str, experts: usize) -> Option<Vec<Vec<String>>> {
        let (before, behind) = self.name.split_once('*')?;
        let layer = name.strip_prefix(before)?.strip_suffix(behind)?;
        layer.parse::<usize>().ok()?;
        let named = |expert: usize, part: &&str| part.replacen('*', layer, 1).replacen('*', &expert.to_string(), 1);
        Some((0..experts).map(|expert| self.parts.iter().map(|part| named(expert, part)).collect()).collect())
    }
}

/// One family of checkpoints.
pub trait Family: Debug + Send + Sync {
    /// What is constant about it.
    fn facts(&self) -> &FamilyFacts;

    /// The description in a `config.json`.
    ///
    /// # Errors
    /// When a key is unknown, missing or has a value that the family or the networks here do not have.
    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError>;

    /// The keys that its `config.json` may have; what else stands there is warned of. `None` for a family that refuses
    /// unknown keys.
    fn config_keys(&self) -> Option<Vec<&'static str>>;

    /// A description as its `config.json` holds it, as far as the family can say it; [`to_config`] checks that it can.
    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object;

    /// The ids of tokens that have a role, as its `config.json` says or as the family has them; none where the
    /// tokenizer's names of special tokens say it.
    fn roles(&self, config: &Object) -> TokenRoles;

    /// The keys of its `generation_config.json` in the words of this project, completed by how its makers sample; keys
    /// that mean nothing here stay. A folder without that file has an empty object.
    ///
    /// # Errors
    /// When a key has a value that it cannot have.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError>;

    /// The reverse of [`Family::read_generation`].
    fn write_generation(&self, settings: Object) -> Object;
}

/// Ids of tokens that mean something to a network rather than to its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenRoles {
    /// Stands at a position that is still noise.
    pub mask: Option<u32>,
    /// Ends a text.
    pub end: Option<u32>,
    /// Fills a canvas behind its last text.
    pub pad: Option<u32>,
    /// Begins a text.
    pub begin: Option<u32>,
}

/// The family of a `config.json`.
///
/// # Errors
/// When its `model_type` is not known here.
pub fn of_config(config: &Value) -> Result<&'static dyn Family, NetworkError> {
    let given = config.get("model_type").and_then(Value::as_str);
    let named = |family: &&dyn Family| Some(family.facts().model_type) == given;
    let architectures = config.get("architectures").and_then(Value::as_array);
    let has = |name: &str| architectures.is_some_and(|all| all.iter().any(|architecture| architecture == name));
    let apart = FAMILIES.into_iter().filter(named).find(|family| family.facts().architecture.is_some_and(has));
    let known =
        apart.or_else(|| FAMILIES.into_iter().find(|family| named(family) && family.facts().architecture.is_none()));
    let untyped = config.as_object().filter(|_| given.is_none());
    let known = known.or_else(|| {
        FAMILIES.into_iter().find(|family| untyped.zip(family.facts().untyped).is_some_and(|(own, is_own)| is_own(own)))
    });
    known.ok_or_else(|| {
        let mut allowed = FAMILIES.map(|family| format!("\"{}\"", family.facts().model_type)).to_vec();
        allowed.dedup();
        NetworkError::Family {
            given: given.map_or_else(|| "missing".to_owned(), |name| format!("\"{name}\"")),
            allowed: allowed.join(", "),
        }
    })
}

/// The description in a `config.json`, whichever family it is of.
///
/// # Errors
/// When the family is not known, or refuses it.
pub fn from_config(config: &Value) -> Result<NetworkSpec, NetworkError> {
    let family = of_config(config)?;
    let spec = family.read_config(config.as_object().unwrap_or(&Object::new()))?;
    spec.validate()?;
    Ok(spec)
}

/// The keys of a `config.json` that nothing here knows, in the order of the file. They are passed over; a family that
/// refuses them has none, and neither has a family that is not known.
pub fn unknown_keys(config: &Value) -> Vec<String> {
    let family = of_config(config).ok();
    let known = family.and_then(Family::config_keys);
    let (Some(known), Some(config)) = (known, config.as_object()) else { return Vec::new() };
    let sections = family.map_or(&[][..], |family| family.facts().sections);
    let neutral = hugging_face::neutral_config();
    let features = hugging_face::features();
    let added = |key: &str| {
        hugging_face::CONFIG_KEYS.contains(&key)
            || neutral.iter().any(|(name, _)| *name == key)
            || features.iter().any(|(name, _, _)| *name == key)
    };
    let unknown = |key: &str| !known.contains(&key) && !added(key);
    let of = |keys: &Object, place: &str| -> Vec<String> {
        let unknown = keys.iter().filter(|(key, value)| !value.is_null() && unknown(key));
        unknown.map(|(key, _)| format!("{place}{key}")).collect()
    };
    let sections = of_config_sections(config, sections).flat_map(|(name, keys)| of(keys, &format!("{name}.")));
    of(config, "").into_iter().chain(sections).collect()
}

/// The objects of a `config.json` that have keys of their own, with their names.
fn of_config_sections<'a>(
    config: &'a Object,
    sections: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, &'a Object)> {
    sections.iter().filter_map(|name| Some((*name, config.get(*name)?.as_object()?)))
}

/// A description as a family's `config.json` holds it. Adapters are not described there: they have folders of their own.
///
/// # Errors
/// When the family has no words for something in it.
pub fn to_config(family: &dyn Family, spec: &NetworkSpec, roles: &TokenRoles) -> Result<Value, NetworkError> {
    let config = Value::Object(family.write_config(spec, roles));
    let parsed = from_config(&config)?;
    if parsed == spec.without_adapters() {
        Ok(config)
    } else {
        Err(NetworkError::Inexpressible { family: family.facts().model_type })
    }
}

/// What a family's files call the tensor that has this name here.
pub fn file_name(family: &dyn Family, name: &str) -> String {
    let is_number = |part: &&str| part.parse::<usize>().is_ok();
    let pattern: Vec<&str> = name.split('.').map(|part| if is_number(&part) { "*" } else { part }).collect();
    let pattern = pattern.join(".");
    let (module, kind) = pattern.rsplit_once('.').unwrap_or((&pattern, ""));
    let there = |here: &str| family.facts().names.iter().find(|(name, _)| *name == here).map(|(_, there)| *there);
    let found = there(&pattern).map(str::to_owned).or_else(|| there(module).map(|there| format!("{there}.{kind}")));
    let Some(found) = found else { return name.to_owned() };
    name.split('.').filter(is_number).fold(found, |there, number| there.replacen('*', number, 1))
}
