//! What written texts are worth to a judge, and how varied they are.
//!
//! The perplexity of a strong causal model over what another model writes falls as the texts become more likely, and falls
//! as well where a model says the same again and again; so it is only ever read beside the entropy of the tokens within a
//! text (as 2409.02908 insists, whose authors found published samplers that had merely become repetitive).

use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{PADDING_DOCUMENT, TokenId};
use aquatint_vocabulary::EncodedText;
use std::collections::{HashMap, HashSet};

/// Texts as canvases of their own, cut to `length`, so many to a batch; for [`crate::likelihood`] under a judge.
pub fn canvases_of(texts: &[EncodedText], length: usize, batch: usize) -> Vec<CanvasBatch> {
    let length = length.max(1);
    let laid_out = |texts: &[EncodedText]| {
        let mut canvases = CanvasBatch { length, ..CanvasBatch::default() };
        for (document, text) in (0u32..).zip(texts) {
            let retained = text.tokens.len().min(length);
            let padding = length - retained;
            canvases.tokens.extend(&text.tokens[..retained]);
            canvases.tokens.extend(std::iter::repeat_n(0, padding));
            canvases.documents.extend(std::iter::repeat_n(document, retained));
            canvases.documents.extend(std::iter::repeat_n(PADDING_DOCUMENT, padding));
            canvases.text_bytes.extend(&text.text_bytes[..retained]);
            canvases.text_bytes.extend(std::iter::repeat_n(0, padding));
        }
        canvases
    };
    texts.chunks(batch.max(1)).map(laid_out).collect()
}

/// `−Σ f ln f` over the tokens of one text, `f` their shares in it, in nats; 0 for a text without tokens.
pub fn unigram_entropy(text: &[TokenId]) -> f64 {
    let mut counts: HashMap<TokenId, u64> = HashMap::new();
    text.iter().for_each(|token| *counts.entry(*token).or_default() += 1);
    let mut counts: Vec<u64> = counts.into_values().collect();
    // In a fixed order, so that the last bit does not hang on the map.
    counts.sort_unstable();
    entropy_of_counts(&counts)
}

/// `−Σ f ln f`, `f` the share of each count in all of them, in nats; 0 where nothing was counted.
pub fn entropy_of_counts(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total);
    shares.map(|share| -share * share.ln()).sum()
}

/// Of all pairs of neighbours in the texts, the share that are different from each other; 1 where there is none.
pub fn distinct_bigrams(texts: &[Vec<TokenId>]) -> f64 {
    let pairs = || texts.iter().flat_map(|text| text.windows(2));
    let distinct: HashSet<&[TokenId]> = pairs().collect();
    if distinct.is_empty() { 1.0 } else { distinct.len() as f64 / pairs().count() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_the_shares() {
        assert_eq!(unigram_entropy(&[]), 0.0);
        assert_eq!(unigram_entropy(&[7; 40]), 0.0);
        let even: Vec<TokenId> = (0..32).collect();
        assert!((unigram_entropy(&even) - 32f64.ln()).abs() < 1e-12);
        let expected = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((unigram_entropy(&[1, 1, 2, 1]) - expected).abs() < 1e-12);
    }

    #[test]
    fn bigrams_are_counted_over_all_texts() {
        assert_eq!(distinct_bigrams(&[vec![1], vec![]]), 1.0);
        assert_eq!(distinct_bigrams(&[vec![1, 2, 3], vec![1, 2]]), 2.0 / 3.0);
        assert_eq!(distinct_bigrams(&[vec![5; 11]]), 0.1);
    }

    #[test]
    fn each_text_is_a_canvas_and_a_document() {
        let text = |tokens: &[TokenId]| {
            let text_bytes = tokens.iter().map(|token| 2 * token).collect();
            EncodedText { tokens: tokens.to_vec(), text_bytes, ..EncodedText::default() }
        };
        let batches = canvases_of(&[text(&[1, 2, 3, 4]), text(&[5]), text(&[])], 3, 2);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].tokens, [1, 2, 3, 5, 0, 0]);
        assert_eq!(batches[0].text_bytes, [2, 4, 6, 10, 0, 0]);
        assert_eq!(batches[0].documents, [0, 0, 0, 1, PADDING_DOCUMENT, PADDING_DOCUMENT]);
        assert_eq!((batches[1].filled(), batches[1].canvases()), (0, 1));
    }
}
