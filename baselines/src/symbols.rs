//! The texts of a recipe as streams of symbols: bytes, or the tokens of a vocabulary.

use aquatint_train::recipe::SourceRecipe;
use aquatint_vocabulary::{Role, Vocabulary};
use std::error::Error;

/// What an n-gram is made of.
#[derive(Debug)]
pub(crate) enum Unit {
    Bytes,
    Tokens(Box<Vocabulary>),
}

/// Documents as symbols, each closed by the end symbol.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) symbols: Vec<u32>,
    /// Bytes of text that they stand for.
    pub(crate) bytes: u64,
    pub(crate) documents: u64,
}

impl Unit {
    /// How many symbols there are.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Bytes => 257,
            Self::Tokens(vocabulary) => vocabulary.len() as u64,
        }
    }

    /// What its symbols are called, in the plural.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tokens(_) => "tokens",
        }
    }

    /// One text as symbols, without the end symbol.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error>> {
        Ok(match self {
            Self::Bytes => text.bytes().map(u32::from).collect(),
            Self::Tokens(vocabulary) => {
                let parts: Vec<&str> = parts(text).collect();
                vocabulary.encode_many(&parts)?.into_iter().flat_map(|part| part.tokens).collect()
            }
        })
    }

    /// The symbol that closes a document.
    pub(crate) fn end(&self) -> Result<u32, Box<dyn Error>> {
        match self {
            // The first number that is no byte.
            Self::Bytes => Ok(u32::from(u8::MAX) + 1),
            Self::Tokens(vocabulary) => Ok(vocabulary.required(Role::End)?),
        }
    }

    /// Reads sources, each once: a text that training repeats teaches an n-gram nothing new.
    pub(crate) fn read(&self, sources: &[SourceRecipe]) -> Result<Stream, Box<dyn Error>> {
        let (mut stream, end) = (Stream::default(), self.end()?);
        each_passage(sources, &mut |text, ends_document| {
            stream.symbols.extend(self.encode(text)?);
            stream.bytes += text.len() as u64;
            if ends_document {
                stream.symbols.push(end);
                stream.documents += 1;
            }
            Ok(())
        })?;
        Ok(stream)
    }
}

/// Receives a passage, and whether a document ends with it.
type ReceivePassage<'a> = &'a mut dyn FnMut(&str, bool) -> Result<(), Box<dyn Error>>;

/// Passes on the passages of all sources, in order, and whether a document ends with each. Empty documents are left
/// out.
pub(crate) fn each_passage(sources: &[SourceRecipe], receive: ReceivePassage<'_>) -> Result<(), Box<dyn Error>> {
    for recipe in sources {
        let source = recipe.source();
        let mut is_empty = true;
        for passage in source.passages()? {
            let passage = passage?;
            is_empty &= passage.text.is_empty();
            if !is_empty {
                receive(&passage.text, passage.ends_document)?;
            }
            is_empty |= passage.ends_document;
        }
    }
    Ok(())
}

/// A text in parts of some kilobytes, cut behind line breaks, where a vocabulary trained here can be cut: long texts
/// are slow to encode in one piece.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    const PART: usize = 1 << 14;
    let mut rest = text;
    std::iter::from_fn(move || {
        let from = (PART..rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
        let is_break = |c: char| c == '\n' || c == '\r';
        let end = rest[from..].find(is_break).map_or(rest.len(), |at| {
            let breaks = &rest[from + at..];
            from + at + breaks.find(|c| !is_break(c)).unwrap_or(breaks.len())
        });
        let (part, after) = rest.split_at(end);
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_text_and_end_behind_line_breaks() {
        let text = format!("{}é\n\n{}\r\n{}", "a".repeat((1 << 14) - 1), "b".repeat(20_000), "c".repeat(9));
        let parts: Vec<&str> = parts(&text).collect();
        assert_eq!(parts.concat(), text);
        assert_eq!(parts.len(), 3);
        assert!(parts[0].ends_with("é\n\n") && parts[1].ends_with("b\r\n"));
    }
}
