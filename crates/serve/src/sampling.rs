//! The fields of sampling, which every endpoint that fills a canvas has, by the same names.

use crate::error::ApiError;
use aquatint::constraint::ConstraintSpec;
use aquatint::diffusion::SettingError;
use aquatint::generate::GenerateError;
use aquatint::vocabulary::TokenId;
use aquatint::{ClassifierOptions, MediaOptions, SamplingOptions};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use utoipa::ToSchema;

/// Steps for each block at most.
const MOST_STEPS: usize = 100_000;
/// Corrector steps after each step at most.
const MOST_CORRECTORS: usize = 100;
/// Most tokens that a classifier tries at a position.
const MOST_CANDIDATES: usize = 32;

/// How a canvas is filled. What is left out comes from the model's `generation_config.json`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SamplingFields {
    /// 0 takes the likeliest token, 1 draws from the prediction.
    #[schema(minimum = 0.0, maximum = 1000.0)]
    temperature: Option<f64>,
    /// The temperature that the steps of a block approach, evenly from `temperature` at its first step.
    #[schema(minimum = 0.0, maximum = 1000.0)]
    final_temperature: Option<f64>,
    /// Draws among the likeliest tokens that hold this share of the probability.
    #[schema(exclusive_minimum = 0.0, maximum = 1.0)]
    top_p: Option<f64>,
    /// Draws among the tokens that are at least this share as likely as the likeliest one; 0 is neutral.
    #[schema(minimum = 0.0, maximum = 1.0)]
    min_p: Option<f64>,
    /// Draws among so many of the likeliest tokens.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    /// Makes tokens that are on the canvas less likely; 1 is neutral.
    #[schema(exclusive_minimum = 0.0, maximum = 1000.0)]
    repetition_penalty: Option<f64>,
    /// Is taken from the logits of tokens that are on the canvas, given or written; 0 is neutral.
    #[schema(minimum = -2.0, maximum = 2.0)]
    presence_penalty: Option<f64>,
    /// Is taken from the logit of a token for each time that it is on the canvas, given or written; 0 is neutral.
    #[schema(minimum = -2.0, maximum = 2.0)]
    frequency_penalty: Option<f64>,
    /// What is added to the logits of tokens, by their ids, from -100 to 100: -100 bans a token.
    logit_bias: Option<BTreeMap<TokenId, f64>>,
    /// Tokens that are never written, by their ids; predictions are without them.
    suppress_tokens: Option<Vec<TokenId>>,
    /// Tokens that are written as late as possible, by their ids: their confidence is 0.
    defer_tokens: Option<Vec<TokenId>>,
    /// Of which distribution confidence is: `prediction`, `shaped`, `shaped:0.6`.
    confidence_of: Option<String>,
    /// The token that ends a text, by its id, in place of the model's own.
    end_token: Option<TokenId>,
    /// How many positions each step leaves open: `scheduled`, `even`, `down`, `nearest`, `cosine`.
    counting: Option<String>,
    /// The time to which the steps of a block are spread evenly.
    #[schema(minimum = 0.0, exclusive_maximum = 1.0)]
    end_time: Option<f64>,
    /// Whether the first step of a block makes its first position final and no other.
    leads: Option<bool>,
    /// When an end token closes its span: `step`, `block`.
    stop_at: Option<String>,
    /// Edits committed tokens of the current block: replaces one where another token is more probable than this; 1 edits
    /// nothing.
    #[schema(minimum = 0.0, maximum = 1.0)]
    edit_threshold: Option<f64>,
    /// Steps that only edit when a block is full, at most.
    #[schema(minimum = 0, maximum = 100000)]
    edit_steps: Option<usize>,
    /// The token that deletes its position while tokens are edited, by its id, in place of the model's own.
    delete_token: Option<TokenId>,
    /// The token that inserts a position before its own while tokens are edited, by its id, in place of the model's own.
    insert_token: Option<TokenId>,
    /// The same seed gives the same text, whatever else is running. Without one, one is drawn and returned.
    #[schema(minimum = 0)]
    seed: Option<u64>,
    /// Denoising steps for each block.
    #[schema(minimum = 1, maximum = 100000)]
    steps: Option<usize>,
    /// Positions that are denoised together.
    #[schema(minimum = 1)]
    block_length: Option<usize>,
    /// Which predictions become final at a step: `confidence`, `entropy-bound:0.3`, `threshold:0.9` …
    policy: Option<String>,
    /// Which tokens are taken back: `none`, `cap:0.02` …
    remasking: Option<String>,
    /// From where the blocks of a network of blocks are counted: `text`, `hole`.
    blocks_from: Option<String>,
    /// Whether blocks are drafts, of which the causal pass keeps what it would have written.
    self_speculation: Option<bool>,
    /// `s` in `log p = u + s (c - u)`; 1 is neutral, any other doubles the work.
    #[schema(minimum = 0.0, maximum = 1000000.0)]
    guidance_scale: Option<f64>,
    /// What the unconditional branch reads in place of what is given before the hole, by ids.
    unconditional_prompt: Option<Vec<TokenId>>,
    /// A text that the writing aims at, with which the prompt begins: a classifier guides towards it (D-CBG).
    classifier_target: Option<String>,
    /// How far the classifier is followed: 0 is not at all, 1 by Bayes' rule.
    #[schema(minimum = 0.0, maximum = 1000000.0)]
    classifier_scale: Option<f64>,
    /// How tokens are tried: `exact`, a forward pass for each; `first-order`, one pass and its gradient for all.
    classifier_method: Option<String>,
    /// Tokens that are tried at each position; each takes a forward pass.
    #[schema(minimum = 1, maximum = 32)]
    classifier_candidates: Option<usize>,
    /// KV cache: `none`, `exact`, `prefix`, `dual`.
    cache: Option<String>,
    /// Steps after which an approximate cache is computed again.
    #[schema(minimum = 1)]
    cache_refresh: Option<usize>,
    /// How much of the noise is drawn again at each step.
    #[schema(minimum = 0.0, maximum = 1.0)]
    churn: Option<f64>,
    /// Corrector steps after each step but the last.
    #[schema(maximum = 100)]
    correctors: Option<usize>,
    /// Whether what is accepted stays open up to the last step.
    revise: Option<bool>,
    /// Whether a step that makes a whole block final writes the likeliest tokens.
    commit_likeliest: Option<bool>,
    /// A block is final when its likeliest tokens have stayed the same for so many steps and its mean entropy is low.
    #[schema(minimum = 0)]
    stability_threshold: Option<usize>,
    /// The mean entropy in nats for `stability_threshold`.
    #[schema(exclusive_minimum = 0.0)]
    confidence_threshold: Option<f64>,
    /// A regular expression that the whole text of each hole matches.
    regex: Option<String>,
    /// A grammar in the form of Lark that the text of each hole follows, which is then written from left to right.
    grammar: Option<String>,
    /// Whether each hole is filled so that it is a molecule as SMILES, together with what stands beside it without a blank;
    /// it is written from left to right then.
    molecule: Option<bool>,
    /// Denoising steps for each picture and each sound that is made, in place of `steps`.
    #[schema(minimum = 1, maximum = 100000)]
    media_steps: Option<usize>,
    /// The temperature of pictures and sounds, in place of `temperature`.
    #[schema(minimum = 0.0, maximum = 1000.0)]
    media_temperature: Option<f64>,
    /// How far pictures and sounds follow what is given, in place of `guidance_scale`.
    #[schema(minimum = 0.0, maximum = 1000000.0)]
    media_guidance_scale: Option<f64>,
}

impl SamplingFields {
    /// The names of the fields.
    pub(crate) const NAMES: [&str; 48] = [
        "temperature",
        "final_temperature",
        "top_p",
        "min_p",
        "top_k",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "suppress_tokens",
        "defer_tokens",
        "confidence_of",
        "end_token",
        "counting",
        "end_time",
        "leads",
        "stop_at",
        "edit_threshold",
        "edit_steps",
        "delete_token",
        "insert_token",
        "seed",
        "steps",
        "block_length",
        "policy",
        "remasking",
        "blocks_from",
        "self_speculation",
        "guidance_scale",
        "unconditional_prompt",
        "classifier_target",
        "classifier_scale",
        "classifier_method",
        "classifier_candidates",
        "cache",
        "cache_refresh",
        "churn",
        "correctors",
        "revise",
        "commit_likeliest",
        "stability_threshold",
        "confidence_threshold",
        "regex",
        "grammar",
        "molecule",
        "media_steps",
        "media_temperature",
        "media_guidance_scale",
    ];

    /// The options of the façade, with a number of tokens.
    ///
    /// # Errors
    /// When a name is unknown, or a number is beyond what the server allows. Other ranges are checked where the options are resolved.
    pub(crate) fn options(&self, max_tokens: Option<usize>) -> Result<SamplingOptions, ApiError> {
        self.constrained_options(max_tokens, None)
    }

    /// The same with what the text is kept within.
    ///
    /// # Errors
    /// As [`SamplingFields::options`], and when the text is to be kept within two things.
    pub(crate) fn constrained_options(
        &self,
        max_tokens: Option<usize>,
        constraint: Option<ConstraintSpec>,
    ) -> Result<SamplingOptions, ApiError> {
        let regex = self.regex.clone().map(ConstraintSpec::Regex);
        let grammar = self.grammar.clone().map(ConstraintSpec::Grammar);
        let molecule = self.molecule.unwrap_or(false).then_some(ConstraintSpec::Molecule);
        let mut constraints = constraint.into_iter().chain(regex).chain(grammar).chain(molecule);
        let constraint = constraints.next();
        if constraints.next().is_some() {
            let message =
                "a text is kept within one thing: `response_format`, a required tool, `regex`, `grammar` or `molecule`";
            return Err(ApiError::invalid(message).of("response_format"));
        }
        for (name, given, most) in [
            ("steps", self.steps, MOST_STEPS),
            ("media_steps", self.media_steps, MOST_STEPS),
            ("edit_steps", self.edit_steps, MOST_STEPS),
            ("correctors", self.correctors, MOST_CORRECTORS),
            ("classifier_candidates", self.classifier_candidates, MOST_CANDIDATES),
        ] {
            if let Some(count) = given.filter(|count| *count > most) {
                return Err(ApiError::field(name, count, &format!("at most {most}")));
            }
        }
        for (name, given, most) in [
            ("temperature", self.temperature, 1e3),
            ("media_temperature", self.media_temperature, 1e3),
            ("final_temperature", self.final_temperature, 1e3),
            ("repetition_penalty", self.repetition_penalty, 1e3),
            ("guidance_scale", self.guidance_scale, 1e6),
            ("media_guidance_scale", self.media_guidance_scale, 1e6),
        ] {
            if let Some(number) = given.filter(|number| *number > most) {
                return Err(ApiError::field(name, number, &format!("at most {most}")));
            }
        }
        fn named<T: FromStr<Err = SettingError>>(name: &Option<String>) -> Result<Option<T>, ApiError> {
            Ok(name.as_deref().map(str::parse).transpose().map_err(GenerateError::Setting)?)
        }
        Ok(SamplingOptions {
            max_tokens,
            steps: self.steps,
            block_length: self.block_length,
            policy: self.policy.clone(),
            remasking: self.remasking.clone(),
            temperature: self.temperature,
            final_temperature: self.final_temperature,
            min_p: self.min_p,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.iter().flatten().map(|(token, bias)| (*token, *bias)).collect(),
            blocks_from: named(&self.blocks_from)?,
            self_speculation: self.self_speculation,
            guidance_scale: self.guidance_scale,
            unconditional_prompt: self.unconditional_prompt.clone(),
            classifier: ClassifierOptions {
                target: self.classifier_target.clone(),
                scale: self.classifier_scale,
                method: named(&self.classifier_method)?,
                candidates: self.classifier_candidates,
            },
            suppress_tokens: self.suppress_tokens.clone(),
            defer_tokens: self.defer_tokens.clone(),
            confidence_of: named(&self.confidence_of)?,
            end_token: self.end_token,
            counting: named(&self.counting)?,
            end_time: self.end_time,
            leads: self.leads,
            stop_at: named(&self.stop_at)?,
            edit_threshold: self.edit_threshold,
            edit_steps: self.edit_steps,
            delete_token: self.delete_token,
            insert_token: self.insert_token,
            cache: named(&self.cache)?,
            cache_refresh: self.cache_refresh,
            churn: self.churn,
            correctors: self.correctors,
            revise: self.revise,
            commit_likeliest: self.commit_likeliest,
            stability_threshold: self.stability_threshold,
            confidence_threshold: self.confidence_threshold,
            seed: self.seed,
            constraint,
            // That of the server is the model's.
            watermark: None,
            media: MediaOptions {
                steps: self.media_steps,
                temperature: self.media_temperature,
                guidance_scale: self.media_guidance_scale,
            },
        })
    }

    /// The same with another seed, for one of several results.
    #[must_use]
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self.clone() }
    }

    /// The requested seed.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::{self, Deserializer, Visitor};

    /// Says which fields a type reads.
    struct Fields<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("no structure"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(de::Error::custom("only the names"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    #[test]
    fn every_field_has_its_name_in_the_list() {
        let mut fields: &'static [&'static str] = &[];
        SamplingFields::deserialize(Fields(&mut fields)).unwrap_err();
        assert_eq!(fields, SamplingFields::NAMES);
    }
}
