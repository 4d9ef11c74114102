//! Training of a byte-level byte-pair encoding.
//!
//! Byte-pair merges (arXiv:1508.07909) over the 256 bytes, so that any text at all survives encoding and decoding. Text
//! is first cut into pieces that no merge crosses, by one of the rules of [`PreTokenizer`].
//!
//! Prose is cut as in GPT-2: a word with the blank before it, digits, punctuation, white space. Three deviations from
//! GPT-2's cut:
//! - line breaks are pieces of their own, so that a paragraph break becomes one token and a text can be cut after any
//!   line break without changing its tokens (packing and parallel encoding rely on that);
//! - `'s`, `'ll` and their like are split off only where no letter follows, so that a quotation such as `'she` does not
//!   lose its first letter;
//! - the last resort is one run of blanks and never crosses a line break.
//!
//! SMILES is cut into what chemists read as one thing: an atom in brackets, `Cl` and `Br`, the number of a ring of two
//! digits (`%10`), and every other character alone, as in arXiv:1711.04810, section 3. Merges stay within these, so a token
//! is an atom, a bond, a number of a ring or a bracket of a branch, and never a part of two. An atom in brackets that hardly
//! occurs stays in more than one token; nothing is ever unknown. In a fragment sequence (SAFE, arXiv:2310.10773) the dot
//! between two fragments and the number of each bond between them are a token, too.

use crate::{Role, VocabularyError};
use std::fmt;
use std::str::FromStr;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer, models::TrainerWrapper};

/// How text is cut into the pieces that no token crosses, when a vocabulary is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreTokenizer {
    /// Words, digits, punctuation, white space.
    #[default]
    Prose,
    /// Atoms, bonds, numbers of rings, branches.
    Smiles,
}

impl PreTokenizer {
    /// All rules.
    pub const ALL: [Self; 2] = [Self::Prose, Self::Smiles];

    /// What is a piece, in the order of preference at each place.
    fn pieces(self) -> &'static str {
        match self {
            Self::Prose => PROSE,
            Self::Smiles => SMILES,
        }
    }
}

impl fmt::Display for PreTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prose => "prose",
            Self::Smiles => "smiles",
        })
    }
}

impl FromStr for PreTokenizer {
    type Err = VocabularyError;

    fn from_str(name: &str) -> Result<Self, VocabularyError> {
        let known = Self::ALL.into_iter().find(|rule| rule.to_string() == name);
        known.ok_or_else(|| VocabularyError::PreTokenizer { given: name.to_owned() })
    }
}

/// Pieces of prose.
const PROSE: &str =
    r"'(?:s|t|re|ve|m|ll|d)(?!\p{L})| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|[\r\n]+|[^\S\r\n]+(?!\S)|[^\S\r\n]+";

/// Pieces of SMILES. Line breaks stay together, as in prose.
const SMILES: &str = r"\[[^\[\]\s]+\]|Br|Cl|%[0-9]{2}|[\r\n]+|[^\r\n]";

/// Pairs with a lower count are not merged: a pair that occurs once is no pattern.
const MINIMUM_FREQUENCY: u64 = 2;

/// The smallest size: every byte and every special token.
const SMALLEST: usize = 256 + Role::TRAINED.len();
/// The largest size. Nothing needs more, and an embedding of that height does not fit into memory.
const LARGEST: usize = 1 << 22;

/// Trains a tokenizer of `size` tokens, special ones included; fewer where the text has fewer repeated pairs.
///
/// # Errors
/// When `size` is out of range or there is no text.
pub(crate) fn learn(
    texts: impl Iterator<Item = String> + Send,
    (size, rule): (usize, PreTokenizer),
) -> Result<Tokenizer, VocabularyError> {
    if !(SMALLEST..=LARGEST).contains(&size) {
        return Err(VocabularyError::Size { given: size, smallest: SMALLEST, largest: LARGEST });
    }
    let failed = |error: tokenizers::Error| VocabularyError::Tokenizer { reason: error.to_string() };
    let pattern = SplitPattern::Regex(rule.pieces().to_owned());
    let cut = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    // No prefix space (the text stays as it is) and no second cut by the alphabet's own rule.
    let alphabet = ByteLevel::new(false, false, false);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Split(cut),
            PreTokenizerWrapper::ByteLevel(alphabet),
        ])))
        .with_decoder(Some(alphabet));
    let special = Role::TRAINED.iter().map(|role| AddedToken::from(role.token(), true)).collect();
    let mut trainer = TrainerWrapper::from(
        BpeTrainer::builder()
            .vocab_size(size)
            .min_frequency(MINIMUM_FREQUENCY)
            .show_progress(false)
            .special_tokens(special)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build(),
    );
    let mut has_text = false;
    let texts = texts.inspect(|text| has_text |= !text.is_empty());
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    if !has_text {
        return Err(VocabularyError::NoText);
    }
    Ok(tokenizer)
}
