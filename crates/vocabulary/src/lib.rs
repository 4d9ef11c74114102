//! Text to tokens and back.
//!
//! A [`Vocabulary`] is any `tokenizer.json` in Hugging Face format, or a byte-level BPE trained here from raw text, cut as prose or as SMILES ([`PreTokenizer`]);
//! tokens with a meaning of their own (mask, end, …) are found by [`Role`] and never by a literal id. Two
//! languages are built on it: chat messages ([`ChatTemplate`]) and canvas templates ([`Template`]).
#![forbid(unsafe_code)]

mod bytes;
mod chat;
mod decoding;
mod encoded;
mod error;
mod learn;
mod media_span;
mod role;
mod roles;
mod template;
mod template_canvas;
mod vocabulary;

pub use chat::{ChatError, ChatTemplate, Message};
pub use decoding::Before;
pub use encoded::{EncodedText, UnknownText};
pub use error::VocabularyError;
pub use learn::PreTokenizer;
pub use media_span::{CanvasPiece, MediaSpan, MediaStretch, Original};
pub use role::Role;
pub use roles::RoleFile;
pub use template::{Mask, Media, MediaKind, Piece, Seconds, Template, TemplateError, TemplateProblem};
pub use template_canvas::{CanvasText, Holding, TemplateCanvas, TemplateCanvasError};
pub use vocabulary::Vocabulary;

/// Index of a token in the vocabulary and in the rows of a network's embedding.
pub use aquatint_diffusion::TokenId;
