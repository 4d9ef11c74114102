//! How a canvas is filled: what `generate` and `run` share.

use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// How a canvas is filled. What is not given comes from the model's `generation_config.json`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SamplingArguments {
    /// Maximum number of tokens when a text is continued
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        aliases = ["n-predict", "max-new-tokens", "gen-length"],
        help_heading = "Sampling"
    )]
    pub(crate) max_tokens: Option<usize>,

    /// Denoising steps per block, at most; the policy first-hitting takes as many as positions are open
    #[arg(long, value_name = "N", aliases = ["num-inference-steps", "diffusion-steps"], help_heading = "Sampling")]
    pub(crate) steps: Option<usize>,

    /// Open positions that are filled together, block after block [default: all]
    #[arg(long, value_name = "N", alias = "block-size", help_heading = "Sampling")]
    pub(crate) block_length: Option<usize>,

    /// Commit policy, which tokens become final at a step: confidence, margin, entropy, random, sequential, ancestral,
    /// first-hitting, threshold:P, dynamic:P, factor:F, entropy-bound:NATS, entropy-bound-by-confidence:NATS, last (all
    /// at the last step), learnt:P (by the model's learnt order), auto (that of the model's process)
    #[arg(long, value_name = "POLICY", help_heading = "Sampling")]
    pub(crate) policy: Option<String>,

    /// Short for --policy threshold:P
    #[arg(long, value_name = "P", conflicts_with_all = ["policy", "entropy_bound"], help_heading = "Sampling")]
    pub(crate) threshold: Option<f64>,

    /// Short for --policy entropy-bound:NATS
    #[arg(long, value_name = "NATS", conflicts_with = "policy", help_heading = "Sampling")]
    pub(crate) entropy_bound: Option<f64>,

    /// Remask committed tokens (ReMDM): none, cap:ETA, rescale:ETA, conf:ETA, loop:ETA
    #[arg(long, value_name = "RULE", help_heading = "Sampling")]
    pub(crate) remasking: Option<String>,

    /// Sampling temperature: 0 takes the likeliest token, 1 samples from the model's prediction
    #[arg(long, value_name = "T", alias = "temp", help_heading = "Sampling")]
    pub(crate) temperature: Option<f64>,

    /// Let the temperature fall or rise evenly from --temperature at the first step of each block towards T
    #[arg(long, value_name = "T", help_heading = "Sampling")]
    pub(crate) final_temperature: Option<f64>,

    /// Sample among the tokens that are at least P times as likely as the likeliest one; 0 is neutral
    #[arg(long, value_name = "P", help_heading = "Sampling")]
    pub(crate) min_p: Option<f64>,

    /// Sample among the K likeliest tokens
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    pub(crate) top_k: Option<usize>,

    /// Sample among the likeliest tokens whose probabilities sum to P
    #[arg(long, value_name = "P", help_heading = "Sampling")]
    pub(crate) top_p: Option<f64>,

    /// Penalty for tokens that are already on the canvas; 1 is neutral
    #[arg(long, value_name = "R", alias = "repeat-penalty", help_heading = "Sampling")]
    pub(crate) repetition_penalty: Option<f64>,

    /// Lower the logits of tokens that are already on the canvas by R, from -2 to 2; 0 is neutral
    #[arg(long, value_name = "R", help_heading = "Sampling")]
    pub(crate) presence_penalty: Option<f64>,

    /// Lower the logit of a token by R for each time that it is already on the canvas, from -2 to 2; 0 is neutral
    #[arg(long, value_name = "R", help_heading = "Sampling")]
    pub(crate) frequency_penalty: Option<f64>,

    /// Add BIAS, from -100 to 100, to the logit of the token with this id: -100 bans it; may be given several times
    #[arg(long, value_name = "TOKEN=BIAS", value_delimiter = ',', help_heading = "Sampling")]
    pub(crate) logit_bias: Vec<TokenBias>,

    /// Never write the tokens with these ids, as in 7,100-199; predictions are without them
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', help_heading = "Sampling")]
    pub(crate) suppress_tokens: Option<Vec<TokenRange>>,

    /// Write the tokens with these ids as late as possible: their confidence is 0
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', help_heading = "Sampling")]
    pub(crate) defer_tokens: Option<Vec<TokenRange>>,

    /// What confidence, entropy and margin are of: prediction, or shaped (after temperature, top-k and top-p);
    /// shaped:T does so at temperature T, whatever the draw's is
    #[arg(long, value_name = "WHAT", help_heading = "Sampling")]
    pub(crate) confidence_of: Option<String>,

    /// Id of the token that ends a text [default: the model's own]
    #[arg(long, value_name = "TOKEN", help_heading = "Sampling")]
    pub(crate) end_token: Option<u32>,

    /// When an end token ends its text: at its step, or with its block, which is filled first
    #[arg(long, value_name = "WHEN", help_heading = "Sampling")]
    pub(crate) stop_at: Option<String>,

    /// How many positions each step leaves open: scheduled, even (remainder to the first steps), down or nearest (of
    /// what is left, rounded), cosine (few are committed at first, many at the end)
    #[arg(long, value_name = "RULE", help_heading = "Sampling")]
    pub(crate) counting: Option<String>,

    /// Spread the steps of a block evenly from time 1 to this one, from 0 to below 1; the last goes on to 0
    #[arg(long, value_name = "TIME", help_heading = "Sampling")]
    pub(crate) end_time: Option<f64>,

    /// Commit the first position of each block alone, in its first step: true or false
    #[arg(long, value_name = "BOOL", help_heading = "Sampling")]
    pub(crate) leads: Option<bool>,

    /// From where blocks are counted by a model of blocks: text, or hole (the first open position)
    #[arg(long, value_name = "WHERE", help_heading = "Sampling")]
    pub(crate) blocks_from: Option<String>,

    /// Write blocks as drafts, of which the model's causal pass keeps what it would have written: true or false. The text
    /// is that of --block-length 1
    #[arg(long, value_name = "BOOL", help_heading = "Sampling")]
    pub(crate) self_speculation: Option<bool>,

    /// Edit committed tokens of the current block: replace one where another token is more probable than P; 1 edits
    /// nothing [default: 1]
    #[arg(long, value_name = "P", alias = "editing-threshold", help_heading = "Sampling")]
    pub(crate) edit_threshold: Option<f64>,

    /// Steps that only edit when a block is full, at most; they end when one edits nothing [default: 16]
    #[arg(long, value_name = "N", alias = "max-post-steps", help_heading = "Sampling")]
    pub(crate) edit_steps: Option<usize>,

    /// Id of the token that deletes its position while tokens are edited (LLaDA2.2) [default: the model's own]
    #[arg(long, value_name = "TOKEN", help_heading = "Sampling")]
    pub(crate) delete_token: Option<u32>,

    /// Id of the token that inserts a position before its own while tokens are edited (LLaDA2.2) [default: the model's own]
    #[arg(long, value_name = "TOKEN", alias = "split-token", help_heading = "Sampling")]
    pub(crate) insert_token: Option<u32>,

    /// Classifier-free guidance by the given text; 1 is neutral
    #[arg(long, value_name = "S", help_heading = "Sampling")]
    pub(crate) guidance_scale: Option<f64>,

    /// Guidance in LLaDA's convention: W is S - 1, 0 is neutral
    #[arg(long, value_name = "W", conflicts_with = "guidance_scale", help_heading = "Sampling")]
    pub(crate) cfg_scale: Option<f64>,

    /// Ids that guidance reads as what is given before the first open position, as in 7,8; empty for nothing [default:
    /// noise in each given position]
    #[arg(long, value_name = "TOKENS", help_heading = "Sampling")]
    pub(crate) unconditional_prompt: Option<TokenList>,

    /// Classifier-based guidance (D-CBG) towards this text, with which the prompt begins: no step reads it, and tokens are
    /// preferred behind which the model predicts it
    #[arg(long, value_name = "TEXT", help_heading = "Sampling")]
    pub(crate) classifier_target: Option<String>,

    /// How far the classifier is followed: 0 is not at all, 1 by Bayes' rule [default: 1]
    #[arg(long, value_name = "S", help_heading = "Sampling")]
    pub(crate) classifier_scale: Option<f64>,

    /// How the classifier tries tokens: exact (a forward pass for each), first-order (one pass and its gradient for all, an
    /// approximation) [default: exact]
    #[arg(long, value_name = "METHOD", help_heading = "Sampling")]
    pub(crate) classifier_method: Option<String>,

    /// Tokens that are tried at each position, the likeliest first; each takes a forward pass [default: 8]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) classifier_candidates: Option<usize>,

    /// KV cache: none, exact (block diffusion; the same text for less work), prefix or dual (other models; approximate)
    /// [default: exact where possible, else none]
    #[arg(long, value_name = "CACHE", help_heading = "Sampling")]
    pub(crate) cache: Option<String>,

    /// Recompute an approximate cache after N steps [default: at each block only]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) cache_refresh: Option<usize>,

    /// Share of the noise at open positions that each step draws again, from 0 to 1 [default: that of the model's
    /// process]
    #[arg(long, value_name = "SHARE", help_heading = "Sampling")]
    pub(crate) churn: Option<f64>,

    /// Corrector steps after each step (predictor-corrector), which draw a share of the noise again: --churn, or 0.2
    /// [default: 0]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) correctors: Option<usize>,

    /// Keep accepted positions open until the last step, and draw all others again: true, as without a value, or false
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Sampling"
    )]
    pub(crate) revise: Option<bool>,

    /// Write the likeliest token of each position when a whole block is committed, and not the sampled one: true or
    /// false
    #[arg(long, value_name = "BOOL", help_heading = "Sampling")]
    pub(crate) commit_likeliest: Option<bool>,

    /// Commit a block at once when its likeliest tokens have stayed the same for N steps and its mean entropy is below
    /// --confidence-threshold [default: 1 where one of the two is given]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) stability_threshold: Option<usize>,

    /// Mean entropy in nats for --stability-threshold [default: 0.005 where one of the two is given]
    #[arg(long, value_name = "NATS", help_heading = "Sampling")]
    pub(crate) confidence_threshold: Option<f64>,

    /// Write only what matches this regular expression as a whole, in each hole
    #[arg(long, value_name = "REGEX", help_heading = "Constraints")]
    pub(crate) regex: Option<String>,

    /// Write only JSON that this schema allows, in each hole; see docs/CONSTRAINTS.md
    #[arg(long, value_name = "FILE", conflicts_with = "regex", help_heading = "Constraints")]
    pub(crate) json_schema: Option<PathBuf>,

    /// Write only what this grammar allows (Lark syntax, rule `start`), from left to right
    #[arg(long, value_name = "FILE", conflicts_with_all = ["regex", "json_schema"], help_heading = "Constraints")]
    pub(crate) grammar: Option<PathBuf>,

    /// Write only molecules as SMILES, together with what stands beside the hole, from left to right
    #[arg(long, conflicts_with_all = ["regex", "json_schema", "grammar"], help_heading = "Constraints")]
    pub(crate) molecule: bool,

    /// Mark the text by the key of this file, which `aquatint watermark-key` makes and `aquatint detect` finds it by
    #[arg(long, value_name = "KEYFILE", help_heading = "Provenance")]
    pub(crate) watermark: Option<PathBuf>,

    /// Steps in which all codes of a picture or a sound are filled [default: --steps, else 16]
    #[arg(long, value_name = "N", help_heading = "Pictures and sounds")]
    pub(crate) media_steps: Option<usize>,

    /// Temperature of pictures and sounds [default: --temperature, else 1]
    #[arg(long, value_name = "T", help_heading = "Pictures and sounds")]
    pub(crate) media_temperature: Option<f64>,

    /// Guidance of pictures and sounds by the given text [default: --guidance-scale, else 2]
    #[arg(long, value_name = "S", help_heading = "Pictures and sounds")]
    pub(crate) media_guidance_scale: Option<f64>,

    /// Random seed; the same seed gives the same text [default: random, and printed]
    #[arg(short = 's', long, value_name = "N", help_heading = "Sampling")]
    pub(crate) seed: Option<u64>,
}

/// What is added to the logit of a token, as it is typed: `464=-100`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TokenBias {
    /// The token's id.
    pub(crate) token: u32,
    /// What is added.
    pub(crate) bias: f64,
}

impl FromStr for TokenBias {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let read = || {
            let (token, bias) = typed.split_once('=')?;
            Some(Self { token: token.trim().parse().ok()?, bias: bias.trim().parse().ok()? })
        };
        read().ok_or_else(|| "allowed: the id of a token and a number, as in 464=-100".to_owned())
    }
}

/// Ids of tokens, as they are typed: `7`, or `100-199` with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRange {
    /// The first id.
    first: u32,
    /// The last id, no lower.
    last: u32,
}

/// No vocabulary has more tokens.
const MOST_TOKENS: u32 = 1 << 24;

impl TokenRange {
    /// All ids of some ranges.
    pub(crate) fn ids(ranges: &[Self]) -> Vec<u32> {
        ranges.iter().flat_map(|range| range.first..=range.last).collect()
    }

    /// Ids as they are typed, with ranges where several follow each other.
    pub(crate) fn typed(ids: &[u32]) -> String {
        let runs = ids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        let typed = |run: &[u32]| match run {
            [first, .., last] => format!("{first}-{last}"),
            _ => run.iter().map(u32::to_string).collect(),
        };
        runs.map(typed).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for TokenRange {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let read = || {
            let (first, last) = typed.split_once('-').unwrap_or((typed, typed));
            Some(Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        };
        let found = read().filter(|range| range.first <= range.last && range.last < MOST_TOKENS);
        found.ok_or_else(|| "allowed: the id of a token, or the first and the last of some, as in 100-199".to_owned())
    }
}

/// Ids of tokens between commas or blanks, as they are typed; none of an empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenList(pub(crate) Vec<u32>);

impl FromStr for TokenList {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let words = typed.split([',', ' ']).filter(|word| !word.is_empty());
        let ids = words.map(str::parse).collect::<Result<_, _>>();
        ids.map(Self).map_err(|_| "allowed: ids of tokens between commas, as in 7,8, or nothing".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ids_are_read_and_written() {
        let ids = |typed: &str| {
            typed
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<TokenRange>, _>>()
                .map(|ranges| TokenRange::ids(&ranges))
        };
        assert_eq!(ids("7,100-102, 5"), Ok(vec![7, 100, 101, 102, 5]));
        assert_eq!(TokenRange::typed(&[7, 100, 101, 102, 5]), "7,100-102,5");
        assert_eq!(TokenRange::typed(&[]), "");
        for wrong in ["", "-", "3-", "-3", "5-4", "a", "1-2-3", "0-4294967295"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
        assert_eq!("7, 8".parse(), Ok(TokenList(vec![7, 8])));
        assert_eq!("".parse(), Ok(TokenList(Vec::new())));
        assert!("the".parse::<TokenList>().is_err());
    }

    #[test]
    fn a_bias_is_an_id_and_a_number() {
        assert_eq!("464=-1.5".parse(), Ok(TokenBias { token: 464, bias: -1.5 }));
        for wrong in ["464", "464=", "=1", "-1=1", "the=1", "4294967296=1", "4=1=1"] {
            assert!(wrong.parse::<TokenBias>().is_err(), "{wrong}");
        }
    }
}
