//! How the codes of pictures and sounds are filled beside a text.

use crate::{Error, SamplingOptions};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_diffusion::Counting;
use aquatint_generate::Settings;

/// Steps in which all codes of a picture or a sound are filled.
const STEPS: usize = 16;
/// How far they follow what is given.
const GUIDANCE_SCALE: f64 = 2.0;

/// The options that are for pictures and sounds alone.
pub(crate) const OF_MEDIA: [&str; 3] = ["media_steps", "media_temperature", "media_guidance_scale"];

/// The options that [`SamplingOptions::media_settings`] leaves to the text.
pub(crate) const OF_TEXT: [&str; 29] = [
    "block_length",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "suppress_tokens",
    "defer_tokens",
    "confidence_of",
    "end_token",
    "end_time",
    "leads",
    "stop_at",
    "blocks_from",
    "classifier_target",
    "classifier_scale",
    "classifier_method",
    "classifier_candidates",
    "self_speculation",
    "edit_threshold",
    "edit_steps",
    "delete_token",
    "insert_token",
    "revise",
    "commit_likeliest",
    "stability_threshold",
    "confidence_threshold",
    "constraint",
    "watermark",
    "max_tokens",
];

/// What is requested of pictures and sounds alone. What is `None` is as it is requested of the text, and where nothing is,
/// as pictures are made best: in 16 steps of the counting `cosine`, all positions together, by the policy `confidence`, with
/// guidance of 2. What a checkpoint advises is for text.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MediaOptions {
    /// See [`SettingsBuilder::steps`](aquatint_generate::SettingsBuilder::steps).
    pub steps: Option<usize>,
    /// See [`SettingsBuilder::temperature`](aquatint_generate::SettingsBuilder::temperature).
    pub temperature: Option<f64>,
    /// See [`SettingsBuilder::guidance_scale`](aquatint_generate::SettingsBuilder::guidance_scale).
    pub guidance_scale: Option<f64>,
}

impl SamplingOptions {
    /// The settings of a picture or a sound on the canvas of a text with settings of its own.
    pub(crate) fn media_settings(&self, text: &Settings, advised: &GenerationDefaults) -> Result<Settings, Error> {
        let MediaOptions { steps, temperature, guidance_scale } = self.media;
        let options = Self {
            steps: steps.or(self.steps).or(Some(STEPS)),
            temperature: temperature.or(self.temperature),
            guidance_scale: guidance_scale.or(self.guidance_scale).or(Some(GUIDANCE_SCALE)),
            policy: self.policy.clone().or_else(|| Some("confidence".to_owned())),
            counting: self.counting.or(Some(Counting::Cosine)),
            remasking: self.remasking.clone(),
            final_temperature: self.final_temperature,
            min_p: self.min_p,
            top_k: self.top_k,
            top_p: self.top_p,
            unconditional_prompt: self.unconditional_prompt.clone(),
            churn: self.churn,
            correctors: self.correctors,
            seed: Some(text.seed()),
            // The canvas is read once for both.
            cache: text.cache(),
            cache_refresh: text.cache_refresh(),
            blocks_from: Some(text.blocks_from()),
            ..Self::default()
        };
        // Of what a checkpoint advises only the order counts, by which a policy may be named.
        let advised = GenerationDefaults { order: advised.order.clone(), ..GenerationDefaults::default() };
        Ok(options.resolve(&advised)?.settings().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_generate::Cache;

    #[test]
    fn every_option_is_for_both_or_for_one_of_them() {
        let all = SamplingOptions {
            max_tokens: Some(1),
            steps: Some(1),
            block_length: Some(1),
            policy: Some("margin".to_owned()),
            remasking: Some("cap:0.1".to_owned()),
            temperature: Some(0.5),
            final_temperature: Some(0.4),
            min_p: Some(0.1),
            top_k: Some(3),
            top_p: Some(0.9),
            repetition_penalty: Some(1.5),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(0.5),
            logit_bias: vec![(1, 1.0)],
            suppress_tokens: Some(vec![2]),
            guidance_scale: Some(1.5),
            seed: Some(3),
            ..SamplingOptions::default()
        };
        let text = all.resolve(&GenerationDefaults::default()).unwrap();
        let media = all.media_settings(text.settings(), &GenerationDefaults::default()).unwrap();
        let (shaping, plain) = (media.shaping(), aquatint_generate::Settings::default());
        assert_eq!((media.policy_name().as_str(), media.remasking().to_string().as_str()), ("margin", "cap:0.1"));
        assert_eq!((shaping.min_p, shaping.top_k, shaping.top_p), (Some(0.1), Some(3), Some(0.9)));
        assert_eq!((shaping.temperature, shaping.final_temperature), (0.5, Some(0.4)));
        // What is of the text is not of them.
        assert_eq!(shaping.presence_penalty, plain.shaping().presence_penalty);
        assert!(media.logit_bias().is_empty() && media.suppress_tokens().is_empty() && media.block_length().is_none());
        assert_eq!(OF_TEXT.iter().filter(|name| all.requests(name)).count(), 7);
    }

    #[test]
    fn what_is_requested_of_pictures_goes_over_what_is_requested_of_all_and_that_over_the_defaults() {
        let advised = GenerationDefaults {
            steps: Some(5),
            temperature: Some(0.5),
            block_length: Some(8),
            cache: Some("prefix".to_owned()),
            ..GenerationDefaults::default()
        };
        let of = |options: SamplingOptions| {
            let text = options.resolve(&advised).unwrap();
            options.media_settings(text.settings(), &advised).unwrap()
        };
        let plain = of(SamplingOptions { seed: Some(7), ..SamplingOptions::default() });
        assert_eq!(
            (plain.steps(), plain.guidance_scale(), plain.counting()),
            (STEPS, GUIDANCE_SCALE, Counting::Cosine)
        );
        assert_eq!((plain.policy_name().as_str(), plain.block_length(), plain.seed()), ("confidence", None, 7));
        // The cache is that of the whole canvas.
        assert_eq!((plain.shaping().temperature, plain.cache()), (1.0, Some(Cache::Prefix)));
        let all = SamplingOptions {
            steps: Some(9),
            temperature: Some(0.3),
            block_length: Some(4),
            repetition_penalty: Some(2.0),
            ..SamplingOptions::default()
        };
        let requested = of(all.clone());
        assert_eq!((requested.steps(), requested.shaping().temperature, requested.block_length()), (9, 0.3, None));
        assert_eq!(requested.shaping().repetition_penalty, 1.0);
        let media = MediaOptions { steps: Some(4), temperature: Some(0.9), guidance_scale: Some(3.0) };
        let own = of(SamplingOptions { media, ..all });
        assert_eq!((own.steps(), own.shaping().temperature, own.guidance_scale()), (4, 0.9, 3.0));
    }
}
