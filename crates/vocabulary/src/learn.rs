//! Training of a byte-level byte-pair encoding.
//!
//! Byte-pair merges (arXiv:1508.07909) over the 256 bytes, so that any text at all survives encoding and decoding. Text
//! is first cut into pieces that no merge crosses, as in GPT-2: a word with the blank before it, digits, punctuation,
//! white space. Three deviations from GPT-2's cut, each for prose:
//! - line breaks are pieces of their own, so that a paragraph break becomes one token and a text can be cut after any
//!   line break without changing its tokens (packing and parallel encoding rely on that);
//! - `'s`, `'ll` and their like are split off only where no letter follows, so that a quotation such as `'she` does not
//!   lose its first letter;
//! - the last resort is one run of blanks and never crosses a line break.

use crate::{Role, VocabularyError};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer, models::TrainerWrapper};

/// How text is cut before merging, in the order of preference at each place.
const PIECES: &str =
    r"'(?:s|t|re|ve|m|ll|d)(?!\p{L})| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|[\r\n]+|[^\S\r\n]+(?!\S)|[^\S\r\n]+";

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
pub(crate) fn learn(texts: impl Iterator<Item = String> + Send, size: usize) -> Result<Tokenizer, VocabularyError> {
    if !(SMALLEST..=LARGEST).contains(&size) {
        return Err(VocabularyError::Size { given: size, smallest: SMALLEST, largest: LARGEST });
    }
    let failed = |error: tokenizers::Error| VocabularyError::Tokenizer { reason: error.to_string() };
    let cut =
        Split::new(SplitPattern::Regex(PIECES.to_owned()), SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
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
