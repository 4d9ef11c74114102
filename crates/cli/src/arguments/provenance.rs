//! What `watermark-key` and `detect` take, and what of `generate` signs files.

use super::ReportFormat;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint watermark-key key.json\n  aquatint watermark-key key.json --scheme green \
                        --strength 3\n  aquatint generate \"Once upon a time\" --watermark key.json"
)]
pub(crate) struct WatermarkKeyArguments {
    /// File to write; one that is there is never replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Scheme: gumbel (the law of each draw stays, and without remasking and editing that of a text), green (favours green pairs of tokens) or order (of the positions
    /// that could become final, green ones go first)
    #[arg(long, value_name = "SCHEME", default_value = "gumbel")]
    pub(crate) scheme: String,

    /// Of gumbel: positions after which its numbers come again, as many as the longest text has [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) period: Option<u32>,

    /// Of green and order: share of pairs that are green [default: 0.25, of order 0.5]
    #[arg(long, value_name = "SHARE")]
    pub(crate) share: Option<f64>,

    /// Of green: what the logit of a token gains that is green on one side [default: 2]
    #[arg(long, value_name = "NATS")]
    pub(crate) strength: Option<f64>,

    /// Of order: among how many times the positions that the policy chooses [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) width: Option<usize>,
}

/// Who signs what is written to files.
#[derive(Debug, Default, Args)]
pub(crate) struct SigningArguments {
    /// Sign what is written to files: content credentials (C2PA) by the certificate in this file, PEM, with those behind it
    /// that signed it. They stand in pictures and sounds, and of FILE.txt in FILE.c2pa
    #[arg(long, value_name = "FILE", requires = "sign_key", help_heading = "Content credentials")]
    pub(crate) sign_cert: Option<PathBuf>,

    /// Private key of --sign-cert, PKCS #8 in PEM
    #[arg(long, value_name = "FILE", requires = "sign_cert", help_heading = "Content credentials")]
    pub(crate) sign_key: Option<PathBuf>,

    /// State the prompt in content credentials, which everybody can read; else its SHA-256 stands there
    #[arg(long, requires = "sign_cert", help_heading = "Content credentials")]
    pub(crate) sign_prompt: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint detect fox.png\n  aquatint detect story.txt --trust-anchors studio.pem\n  aquatint detect \
                        story.txt --key key.json\n  aquatint detect stories.jsonl --key key.json --format json"
)]
pub(crate) struct DetectArguments {
    /// File to examine. By --key a text, of which `-` reads standard input, and of FILE.jsonl each line is one ({"text": …});
    /// without, the content credentials in the file or beside it, in a file of its name that ends in .c2pa
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Key file by which the text may have been marked
    #[arg(short, long, value_name = "KEYFILE")]
    pub(crate) key: Option<PathBuf>,

    /// With --key: model whose tokenizer the text was written with: a folder, a built-in model, or OWNER/NAME that was pulled
    /// [default: the built-in model]
    #[arg(short, long, value_name = "MODEL", requires = "key")]
    pub(crate) model: Option<String>,

    /// With --key: p-value up to which a text is called marked, the share of unmarked texts that are called so [default: 0.0001]
    #[arg(long, value_name = "P", requires = "key")]
    pub(crate) level: Option<f64>,

    /// Content credentials of FILE that stand in this one
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) sidecar: Option<PathBuf>,

    /// Certificates in PEM that are trusted: a signer whom one of them vouches for is called trusted
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) trust_anchors: Option<PathBuf>,

    /// Output format: lines to read, or one JSON object, by --key for each text
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}
