//! What can be typed at the prompt of `aquatint run`: pure parsing, done by [`crate::commands::run`].

use crate::arguments::{SamplingArguments, TokenBias, TokenRange};
use crate::failure::Failure;
use aquatint_vocabulary::MediaKind;
use std::path::PathBuf;

/// One line typed at the prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    /// A text to continue or a template to fill.
    Prompt(String),
    /// `/help` or `/?`.
    Help,
    /// `/set NAME VALUE`; without both, what is set is shown.
    Set(String, String),
    /// `/picture TEXT`: the template of a text that goes on, and a picture.
    /// `/say TEXT`: that of a text and a sound.
    Media(MediaKind, String),
    /// `/save FILE`.
    Save(PathBuf),
    /// `/show`.
    Show,
    /// `/clear`.
    Clear,
    /// `/bye`.
    Bye,
    /// An empty line.
    Nothing,
    /// A line that opens a text of several lines with `"""`.
    Opening(String),
}

/// What `/help` shows.
pub(crate) const HELP: &str = "\
Type a text to have it continued, or a template: The [[3]] sat on the [[5]].
A model with a template of conversations answers a text instead.
\"\"\" begins and ends a text of several lines.

  /set NAME VALUE   change a setting: max-tokens, steps, block-length, policy, remasking,
                    temperature, final-temperature, min-p, top-k, top-p, repetition-penalty,
                    presence-penalty, frequency-penalty, logit-bias, suppress-tokens,
                    defer-tokens, confidence-of, end-token, stop-at, counting, end-time,
                    leads (true or false), blocks-from, self-speculation (true or false),
                    edit-threshold, edit-steps, delete-token, insert-token,
                    guidance-scale, unconditional-prompt, churn, correctors, revise (true
                    or false), commit-likeliest (true or false), stability-threshold,
                    confidence-threshold, media-steps, media-temperature,
                    media-guidance-scale, seed;
                    VALUE default goes back to the model's own
  /picture TEXT     write on behind TEXT and make the picture that belongs to it
  /say TEXT         make the sound of TEXT
  /save FILE        keep the last picture (FILE.png) or sound (FILE.wav)
  /show             show the model and the settings
  /clear            clear the screen
  /help             show this help
  /bye              leave

Ctrl-C stops the text that is being written, Ctrl-D leaves.";

impl Typed {
    /// Understands one line.
    pub(crate) fn parse(line: &str) -> Result<Self, Failure> {
        let line = line.trim_end_matches(['\n', '\r']);
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Ok(Self::Nothing);
        }
        if let Some(rest) = trimmed.strip_prefix("\"\"\"") {
            return Ok(match rest.strip_suffix("\"\"\"") {
                Some(whole) => Self::Prompt(whole.to_owned()),
                None => Self::Opening(rest.to_owned()),
            });
        }
        if !trimmed.starts_with('/') {
            return Ok(Self::Prompt(line.to_owned()));
        }
        if let Some((command, text)) = trimmed.split_once(char::is_whitespace) {
            match command {
                "/picture" => return Ok(Self::Media(MediaKind::Picture, text.trim().to_owned())),
                "/say" => return Ok(Self::Media(MediaKind::Sound, text.trim().to_owned())),
                "/save" => return Ok(Self::Save(PathBuf::from(text.trim()))),
                _ => {}
            }
        }
        let mut words = trimmed.split_whitespace();
        let command = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match (command, rest.as_slice()) {
            ("/help" | "/?", []) => Ok(Self::Help),
            ("/set", []) | ("/show", []) => Ok(Self::Show),
            ("/set", [name, value]) => Ok(Self::Set((*name).to_owned(), (*value).to_owned())),
            ("/set", _) => Err(Failure::new("`/set` takes a name and a value").hint("/set temperature 0.7")),
            ("/picture" | "/say", []) => {
                Err(Failure::new(format!("`{command}` takes a text")).hint(format!("{command} A fox in the snow.")))
            }
            ("/save", []) => Err(Failure::new("`/save` takes a file").hint("/save fox.png")),
            ("/clear", []) => Ok(Self::Clear),
            ("/bye" | "/exit" | "/quit", []) => Ok(Self::Bye),
            ("/help" | "/?" | "/show" | "/clear" | "/bye" | "/exit" | "/quit", _) => {
                Err(Failure::new(format!("`{command}` takes nothing after it")))
            }
            _ => Err(Failure::new(format!("unknown command `{command}`"))
                .hint("/help lists the commands; a text that begins with / can be put between \"\"\"")),
        }
    }
}

/// Changes one setting; `default` takes it back.
pub(crate) fn set(sampling: &mut SamplingArguments, name: &str, value: &str) -> Result<(), Failure> {
    fn read<T: std::str::FromStr>(name: &str, value: &str, expected: &str) -> Result<Option<T>, Failure> {
        if value == "default" {
            return Ok(None);
        }
        value
            .parse()
            .map(Some)
            .map_err(|_| Failure::new(format!("`{name}` is {value}; allowed: {expected} or default")))
    }
    const COUNT: &str = "a whole number";
    const NUMBER: &str = "a number";
    let text = || (value != "default").then(|| value.to_owned());
    match name.trim_start_matches('-').replace('_', "-").as_str() {
        "max-tokens" => sampling.max_tokens = read(name, value, COUNT)?,
        "steps" => sampling.steps = read(name, value, COUNT)?,
        "block-length" => sampling.block_length = read(name, value, COUNT)?,
        "policy" => {
            sampling.policy = text();
            (sampling.threshold, sampling.entropy_bound) = (None, None);
        }
        "threshold" => {
            sampling.threshold = read(name, value, NUMBER)?;
            (sampling.policy, sampling.entropy_bound) = (None, None);
        }
        "entropy-bound" => {
            sampling.entropy_bound = read(name, value, NUMBER)?;
            (sampling.policy, sampling.threshold) = (None, None);
        }
        "remasking" => sampling.remasking = text(),
        "temperature" => sampling.temperature = read(name, value, NUMBER)?,
        "final-temperature" => sampling.final_temperature = read(name, value, NUMBER)?,
        "min-p" => sampling.min_p = read(name, value, NUMBER)?,
        "top-k" => sampling.top_k = read(name, value, COUNT)?,
        "top-p" => sampling.top_p = read(name, value, NUMBER)?,
        "repetition-penalty" => sampling.repetition_penalty = read(name, value, NUMBER)?,
        "presence-penalty" => sampling.presence_penalty = read(name, value, NUMBER)?,
        "frequency-penalty" => sampling.frequency_penalty = read(name, value, NUMBER)?,
        "logit-bias" => {
            let biases = value.split(',').map(|typed| read::<TokenBias>(name, typed, "TOKEN=BIAS,TOKEN=BIAS"));
            sampling.logit_bias = biases.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        }
        "suppress-tokens" | "defer-tokens" => {
            let ids = value.split(',').map(|typed| read::<TokenRange>(name, typed, "TOKEN,TOKEN-TOKEN"));
            let ids: Option<Vec<TokenRange>> = ids.collect::<Result<_, _>>()?;
            match name.trim_start_matches('-').starts_with('s') {
                true => sampling.suppress_tokens = ids,
                false => sampling.defer_tokens = ids,
            }
        }
        "confidence-of" => sampling.confidence_of = text(),
        "end-token" => sampling.end_token = read(name, value, COUNT)?,
        "stop-at" => sampling.stop_at = text(),
        "counting" => sampling.counting = text(),
        "end-time" => sampling.end_time = read(name, value, NUMBER)?,
        "leads" => sampling.leads = read(name, value, "true, false")?,
        "edit-threshold" => sampling.edit_threshold = read(name, value, NUMBER)?,
        "edit-steps" => sampling.edit_steps = read(name, value, COUNT)?,
        "delete-token" => sampling.delete_token = read(name, value, COUNT)?,
        "insert-token" => sampling.insert_token = read(name, value, COUNT)?,
        "guidance-scale" => {
            sampling.guidance_scale = read(name, value, NUMBER)?;
            sampling.cfg_scale = None;
        }
        "blocks-from" => sampling.blocks_from = text(),
        "self-speculation" => sampling.self_speculation = read(name, value, "true, false")?,
        "unconditional-prompt" => sampling.unconditional_prompt = read(name, value, "TOKEN,TOKEN")?,
        "churn" => sampling.churn = read(name, value, NUMBER)?,
        "correctors" => sampling.correctors = read(name, value, COUNT)?,
        "revise" => sampling.revise = read(name, value, "true, false")?,
        "commit-likeliest" => sampling.commit_likeliest = read(name, value, "true, false")?,
        "stability-threshold" => sampling.stability_threshold = read(name, value, COUNT)?,
        "confidence-threshold" => sampling.confidence_threshold = read(name, value, NUMBER)?,
        "watermark" => sampling.watermark = text().map(PathBuf::from),
        "media-steps" => sampling.media_steps = read(name, value, COUNT)?,
        "media-temperature" => sampling.media_temperature = read(name, value, NUMBER)?,
        "media-guidance-scale" => sampling.media_guidance_scale = read(name, value, NUMBER)?,
        "seed" => sampling.seed = read(name, value, COUNT)?,
        _ => return Err(Failure::new(format!("unknown setting `{name}`")).hint("/help lists the settings")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prompts_unless_they_begin_with_a_slash() {
        assert_eq!(Typed::parse("Once upon a time \n").unwrap(), Typed::Prompt("Once upon a time ".to_owned()));
        assert_eq!(Typed::parse("  \n").unwrap(), Typed::Nothing);
        assert_eq!(Typed::parse("/?\n").unwrap(), Typed::Help);
        assert_eq!(Typed::parse("/set").unwrap(), Typed::Show);
        assert_eq!(Typed::parse("\"\"\"/x\"\"\"").unwrap(), Typed::Prompt("/x".to_owned()));
        assert_eq!(Typed::parse("\"\"\"first").unwrap(), Typed::Opening("first".to_owned()));
        assert_eq!(
            Typed::parse("/jump").unwrap_err().to_string(),
            "error: unknown command `/jump`\n\nhint: /help lists the commands; a text that begins with / can be put \
             between \"\"\""
        );
        assert!(Typed::parse("/bye now").is_err());
        let picture = Typed::Media(MediaKind::Picture, "A fox.".to_owned());
        assert_eq!(Typed::parse(" /picture  A fox. \n").unwrap(), picture);
        assert_eq!(Typed::parse("/say fox").unwrap(), Typed::Media(MediaKind::Sound, "fox".to_owned()));
        assert_eq!(Typed::parse("/save a fox.png").unwrap(), Typed::Save(PathBuf::from("a fox.png")));
        for command in ["/picture", "/say", "/save"] {
            assert!(Typed::parse(command).unwrap_err().to_string().starts_with(&format!("error: `{command}` takes a")));
        }
    }

    #[test]
    fn settings_are_set_taken_back_and_checked() {
        let mut sampling = SamplingArguments::default();
        set(&mut sampling, "temperature", "0.5").unwrap();
        set(&mut sampling, "--top_k", "4").unwrap();
        set(&mut sampling, "threshold", "0.9").unwrap();
        assert_eq!((sampling.temperature, sampling.top_k, sampling.threshold), (Some(0.5), Some(4), Some(0.9)));
        set(&mut sampling, "policy", "margin").unwrap();
        assert_eq!((sampling.policy.as_deref(), sampling.threshold), (Some("margin"), None));
        set(&mut sampling, "temperature", "default").unwrap();
        assert_eq!(sampling.temperature, None);
        set(&mut sampling, "logit_bias", "5=-100,7=2.5").unwrap();
        let biases: Vec<(u32, f64)> = sampling.logit_bias.iter().map(|bias| (bias.token, bias.bias)).collect();
        assert_eq!(biases, [(5, -100.0), (7, 2.5)]);
        set(&mut sampling, "logit-bias", "default").unwrap();
        assert!(sampling.logit_bias.is_empty());
        assert_eq!(
            set(&mut sampling, "logit-bias", "5").unwrap_err().to_string(),
            "error: `logit-bias` is 5; allowed: TOKEN=BIAS,TOKEN=BIAS or default"
        );
        assert_eq!(
            set(&mut sampling, "steps", "many").unwrap_err().to_string(),
            "error: `steps` is many; allowed: a whole number or default"
        );
        assert!(set(&mut sampling, "speed", "9").is_err());
    }

    #[test]
    fn help_names_every_setting() {
        for name in [
            "max-tokens",
            "steps",
            "block-length",
            "policy",
            "remasking",
            "temperature",
            "final-temperature",
            "min-p",
            "top-k",
            "presence-penalty",
            "frequency-penalty",
            "logit-bias",
            "blocks-from",
            "self-speculation",
            "edit-threshold",
            "edit-steps",
            "delete-token",
            "insert-token",
            "unconditional-prompt",
            "churn",
            "revise",
            "commit-likeliest",
            "stability-threshold",
            "confidence-threshold",
            "media-steps",
            "media-temperature",
            "media-guidance-scale",
            "seed",
        ] {
            assert!(HELP.contains(name), "{name}");
            assert!(set(&mut SamplingArguments::default(), name, "default").is_ok(), "{name}");
        }
    }
}
