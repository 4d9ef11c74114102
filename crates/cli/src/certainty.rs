//! How sure the model was of what it wrote: the spans of `--format json`, and which of them are abstained from.

use crate::wire;
use aquatint::Prepared;
use aquatint_diffusion::Canvas;
use aquatint_generate::Certainties;
use aquatint_vocabulary::Vocabulary;

/// The holes of a template with the certainty of their tokens; tokens that end a text have no part in it.
pub(crate) fn spans(
    prepared: &Prepared,
    (canvas, texts): (&Canvas, &[String]),
    certainties: &Certainties,
    vocabulary: &Vocabulary,
) -> Vec<wire::Span> {
    let mut ends = vocabulary.ends();
    ends.extend(prepared.settings.end_token());
    let of_hole = |((positions, _), text): ((std::ops::Range<usize>, bool), &String)| {
        let written = positions.filter(|position| canvas.is_committed(*position));
        let tokens = written.filter_map(|position| {
            let token = canvas.tokens()[position];
            let certainty = certainties.at(position).filter(|_| !ends.contains(&token))?;
            let text = vocabulary.token_text(token);
            let (probability, entropy, step) = (certainty.probability, certainty.entropy, certainty.step);
            Some(wire::SpanToken { position, token, text, probability, entropy, step })
        });
        wire::Span::new(text.clone(), tokens.collect())
    };
    prepared.template_canvas.holes().zip(texts).map(of_hole).collect()
}

/// The geometric mean of the probabilities of all tokens of some spans; `None` where nothing was written.
pub(crate) fn probability(spans: Vec<wire::Span>) -> Option<f64> {
    wire::Span::new(String::new(), spans.into_iter().flat_map(|span| span.tokens).collect()).probability
}

/// Marks the spans whose probability is below a threshold; says of each that is abstained from which it is.
pub(crate) fn abstain(spans: &mut [wire::Span], below: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, span) in (1..).zip(spans) {
        // What is empty has no probability, and is as unsure as can be.
        span.abstained = Some(span.probability.unwrap_or(0.0) < below);
        if span.abstained == Some(true) {
            lines.push(match span.probability {
                Some(probability) => {
                    format!("abstained from hole {number}: its probability {probability:.3} is below {below}")
                }
                None => format!("abstained from hole {number}: nothing was written"),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(probabilities: &[f64]) -> wire::Span {
        let token = |probability: &f64| wire::SpanToken {
            position: 0,
            token: 1,
            text: "a".to_owned(),
            probability: *probability,
            entropy: Some(0.25),
            step: 0,
        };
        wire::Span::new("a".to_owned(), probabilities.iter().map(token).collect())
    }

    #[test]
    fn a_span_is_as_probable_as_the_geometric_mean_of_its_tokens() {
        let mut spans = [span(&[0.5, 0.125]), span(&[1.0]), span(&[])];
        assert!((spans[0].probability.unwrap() - 0.25).abs() < 1e-12);
        let all = probability(spans.to_vec()).unwrap();
        assert!((all - (0.5f64 * 0.125).powf(1.0 / 3.0)).abs() < 1e-12 && probability(Vec::new()).is_none(), "{all}");
        assert_eq!((spans[0].entropy, spans[2].probability, spans[2].entropy), (Some(0.25), None, None));
        assert_eq!(
            abstain(&mut spans, 0.3),
            ["abstained from hole 1: its probability 0.250 is below 0.3", "abstained from hole 3: nothing was written"]
        );
        assert_eq!(spans.map(|span| span.abstained), [Some(true), Some(false), Some(true)]);
    }
}
