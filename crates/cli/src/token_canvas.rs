//! Canvases that are typed as ids of tokens: `1 2 [[8]] 3`.

use crate::failure::Failure;
use aquatint_diffusion::{Canvas, Kind, TokenId};

/// What is typed for a canvas of ids.
pub(crate) struct TokenCanvas<'a> {
    /// Ids between blanks or commas, and holes: `[[8]]`, or `[[~8]]` that an end token may close early.
    pub(crate) typed: &'a str,
    /// The open positions behind ids without a hole.
    pub(crate) continuation: usize,
    /// Whether an end token may close them early.
    pub(crate) ends: bool,
    /// What open positions show at first.
    pub(crate) noise: TokenId,
    /// Ids of the model: all below.
    pub(crate) vocabulary_size: usize,
}

impl TokenCanvas<'_> {
    /// Whether ids without a hole are continued.
    pub(crate) fn is_continued(&self) -> bool {
        !self.typed.contains("[[")
    }

    /// Reads what was typed.
    pub(crate) fn canvas(&self) -> Result<Canvas, Failure> {
        let mut canvas = Canvas::new();
        for word in self.typed.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty()) {
            match word.strip_prefix("[[").and_then(|word| word.strip_suffix("]]")) {
                Some(hole) => {
                    let (count, approximate) = match hole.strip_prefix('~') {
                        Some(count) => (count, true),
                        None => (hole, false),
                    };
                    let count = count.parse().ok().filter(|count| *count > 0);
                    canvas.push_open(count.ok_or_else(|| refused(word))?, approximate, self.noise);
                }
                None => {
                    let id: TokenId = word.parse().map_err(|_| refused(word))?;
                    if id as usize >= self.vocabulary_size {
                        let allowed = format!("ids below {}, which are the model's", self.vocabulary_size);
                        return Err(Failure::new(format!("`--tokens` has {id}; allowed: {allowed}")));
                    }
                    canvas.push_given(&[id]);
                }
            }
        }
        if self.is_continued() {
            canvas.push_open(self.continuation, self.ends, self.noise);
        }
        Ok(canvas)
    }
}

/// The ids of a canvas but for what fell away.
pub(crate) fn ids(canvas: &Canvas) -> Vec<TokenId> {
    let stays = |position: &usize| canvas.kind(*position) != Some(Kind::Padding) && !canvas.is_closed(*position);
    (0..canvas.len()).filter(stays).map(|position| canvas.tokens()[position]).collect()
}

fn refused(word: &str) -> Failure {
    Failure::new(format!("`--tokens` has {word}; allowed: ids of tokens, and holes such as [[8]] or [[~8]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str) -> Result<Canvas, String> {
        let canvas = TokenCanvas { typed, continuation: 2, ends: true, noise: 9, vocabulary_size: 10 }.canvas();
        canvas.map_err(|failure| failure.to_string())
    }

    #[test]
    fn ids_and_holes_are_read_in_their_order() {
        let canvas = read("1, 2 [[3]] 4\n[[~1]]").unwrap();
        assert_eq!(canvas.tokens(), [1, 2, 9, 9, 9, 4, 9]);
        assert_eq!(canvas.open_positions(), [2, 3, 4, 6]);
        assert_eq!(canvas.spans().iter().map(|span| span.approximate).collect::<Vec<_>>(), [false, true]);
        let continued = read("1").unwrap();
        assert_eq!((continued.tokens(), continued.spans()[0].approximate), (&[1, 9, 9][..], true));
        assert_eq!(ids(&continued), [1, 9, 9]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in ["the", "-1", "[[0]]", "[[x]]", "[[]]", "4294967296"] {
            assert!(read(wrong).unwrap_err().contains("allowed: ids of tokens, and holes"), "{wrong}");
        }
        assert_eq!(read("1 10").unwrap_err(), "error: `--tokens` has 10; allowed: ids below 10, which are the model's");
    }
}
