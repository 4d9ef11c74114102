//! What was typed about sampling, as the library takes it.

use crate::arguments::{SamplingArguments, TokenRange};
use crate::failure::Failure;
use crate::watermark;
use aquatint::{ClassifierOptions, ConstraintSpec, MediaOptions, SamplingOptions};
use aquatint_diffusion::SettingError;
use aquatint_generate::GenerateError;
use std::path::PathBuf;
use std::str::FromStr;

impl SamplingArguments {
    /// The flag by which an option was given, without its dashes.
    pub(crate) fn flag(&self, parameter: &str) -> String {
        match parameter {
            "policy" if self.threshold.is_some() => "threshold".to_owned(),
            "policy" if self.entropy_bound.is_some() => "entropy-bound".to_owned(),
            "constraint" if self.regex.is_some() => "regex".to_owned(),
            "constraint" if self.json_schema.is_some() => "json-schema".to_owned(),
            "constraint" if self.molecule => "molecule".to_owned(),
            "constraint" => "grammar".to_owned(),
            "guidance_scale" if self.cfg_scale.is_some() => "cfg-scale".to_owned(),
            _ => parameter.replace('_', "-"),
        }
    }

    /// What the text is to be.
    fn constraint(&self) -> Result<Option<ConstraintSpec>, Failure> {
        if let Some(regex) = &self.regex {
            return Ok(Some(ConstraintSpec::Regex(regex.clone())));
        }
        if self.molecule {
            return Ok(Some(ConstraintSpec::Molecule));
        }
        let read =
            |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| Failure::of_file("read", path, &error));
        if let Some(path) = &self.grammar {
            return Ok(Some(ConstraintSpec::Grammar(read(path)?)));
        }
        let Some(path) = &self.json_schema else { return Ok(None) };
        let schema = serde_json::from_str(&read(path)?)
            .map_err(|error| Failure::of(&error).context(format!("{} is not JSON", path.display())))?;
        Ok(Some(ConstraintSpec::JsonSchema(schema)))
    }

    /// The options of these flags, of which some are two words for one setting.
    pub(crate) fn options(&self) -> Result<SamplingOptions, Failure> {
        if let Some(name @ ("low_confidence" | "low-confidence" | "random")) = self.remasking.as_deref() {
            let policy = if name == "random" { name } else { "confidence" };
            return Err(Failure::new(format!("unknown remasking `{name}`")).hint(format!(
                "what LLaDA calls remasking chooses what to commit and takes nothing back: --policy {policy}"
            )));
        }
        let policy = match (self.threshold, self.entropy_bound) {
            (Some(threshold), _) => Some(format!("threshold:{threshold}")),
            (None, Some(bound)) => Some(format!("entropy-bound:{bound}")),
            (None, None) => self.policy.clone(),
        };
        fn named<T: FromStr<Err = SettingError>>(name: &Option<String>) -> Result<Option<T>, GenerateError> {
            name.as_deref().map(str::parse).transpose().map_err(GenerateError::Setting)
        }
        Ok(SamplingOptions {
            max_tokens: self.max_tokens,
            steps: self.steps,
            block_length: self.block_length,
            policy,
            remasking: self.remasking.clone(),
            temperature: self.temperature,
            final_temperature: self.final_temperature,
            min_p: self.min_p,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.iter().map(|bias| (bias.token, bias.bias)).collect(),
            // LLaDA's w is 0 where ours is 1 (log p = u + s (c - u) with s = w + 1).
            guidance_scale: self.guidance_scale.or(self.cfg_scale.map(|w| w + 1.0)),
            unconditional_prompt: self.unconditional_prompt.clone().map(|list| list.0),
            classifier: ClassifierOptions {
                target: self.classifier_target.clone(),
                scale: self.classifier_scale,
                method: named(&self.classifier_method)?,
                candidates: self.classifier_candidates,
            },
            suppress_tokens: self.suppress_tokens.as_deref().map(TokenRange::ids),
            defer_tokens: self.defer_tokens.as_deref().map(TokenRange::ids),
            confidence_of: named(&self.confidence_of)?,
            end_token: self.end_token,
            counting: named(&self.counting)?,
            end_time: self.end_time,
            leads: self.leads,
            stop_at: named(&self.stop_at)?,
            blocks_from: named(&self.blocks_from)?,
            self_speculation: self.self_speculation,
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
            constraint: self.constraint()?,
            watermark: self.watermark.as_deref().map(watermark::read).transpose()?,
            media: MediaOptions {
                steps: self.media_steps,
                temperature: self.media_temperature,
                guidance_scale: self.media_guidance_scale,
            },
            seed: self.seed,
        })
    }
}
