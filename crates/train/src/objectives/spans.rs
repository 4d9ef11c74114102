//! How spans of pictures and sounds are learned beside text: what codes weigh, and which part of a document is given or
//! hidden in a step.

use crate::objective::Setting;
use crate::recipe::DomainRecipe;
use aquatint_batch::PackedBatch;
use aquatint_diffusion::{Draws, Span, TokenId};
use std::ops::Range;

/// What becomes of a part of a canvas in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is learned at its time.
    Learned,
    /// It stays as it is.
    Given,
    /// It is noise alone, and costs nothing.
    Hidden,
}

/// A part of a canvas, and the span that it lies in.
pub(super) type Part<'a> = (Range<usize>, Option<&'a Span>);

/// What a recipe says of spans.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SpanRules {
    /// How codes are learned, by the tokens of their domains.
    domains: Vec<(Range<TokenId>, DomainRecipe)>,
    /// The share of documents with several parts of which one is given.
    given: f64,
    /// The share of them of which one is hidden.
    hidden: f64,
}

impl SpanRules {
    pub(super) fn of(setting: &Setting<'_>) -> Self {
        let recipe = &setting.recipe.objective;
        let domain = |name: &String| recipe.domains.get(name).copied().unwrap_or_default();
        let domains = setting.codecs.iter().map(|codec| (codec.domain.ids.clone(), domain(&codec.name)));
        Self { domains: domains.collect(), given: recipe.given_spans, hidden: recipe.hidden_spans }
    }

    /// What a masked token weighs that weighs `bound` in the bound.
    pub(super) fn weight(&self, span: Option<&Span>, bound: f64) -> f64 {
        let of = |span: &Span| self.domains.iter().find(|(ids, _)| *ids == span.domain.ids);
        match span.and_then(of) {
            Some((_, domain)) if domain.bound => bound * domain.weight,
            Some((_, domain)) => domain.weight,
            None => bound,
        }
    }

    /// What becomes of the parts of a canvas: of each document with several, one may be given, or hidden. Draws nothing for
    /// a canvas without spans.
    pub(super) fn fates(&self, rows: &PackedBatch, parts: &[Part<'_>], draws: impl FnOnce() -> Draws) -> Vec<Fate> {
        let mut fates = vec![Fate::Learned; parts.len()];
        if self.given + self.hidden == 0.0 || parts.iter().all(|(_, span)| span.is_none()) {
            return fates;
        }
        let (mut draws, mut begin) = (draws(), 0);
        for end in 1..=parts.len() {
            if parts.get(end).is_some_and(|(part, _)| !rows.first[part.start]) {
                continue;
            }
            let (chance, chosen) = (draws.uniform(), begin + draws.below((end - begin) as u64) as usize);
            if end - begin > 1 {
                fates[chosen] = match chance {
                    chance if chance < self.given => Fate::Given,
                    chance if chance < self.given + self.hidden => Fate::Hidden,
                    _ => Fate::Learned,
                };
            }
            begin = end;
        }
        fates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_corpus::CanvasBatch;
    use aquatint_diffusion::{Domain, Key, Layout};

    const CODES: Range<TokenId> = 100..110;

    /// A text with a picture behind it, a text alone, and a picture alone, on one canvas of 12.
    fn rows() -> PackedBatch {
        let span = |positions| Span { positions, approximate: false, domain: Domain::grid(CODES, 2, 1) };
        let batch = CanvasBatch {
            length: 12,
            tokens: vec![1, 2, 3, 100, 101, 4, 5, 6, 7, 8, 102, 103],
            documents: vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2],
            text_bytes: vec![1; 12],
            spans: vec![span(3..5), span(10..12)],
            given: Vec::new(),
        };
        PackedBatch::new(&batch, Layout::Full).unwrap()
    }

    fn rules(given: f64, hidden: f64) -> SpanRules {
        let picture = DomainRecipe { weight: 0.5, bound: false };
        SpanRules { domains: vec![(CODES, picture)], given, hidden }
    }

    #[test]
    fn one_part_of_a_document_with_several_is_given_or_hidden() {
        let rows = rows();
        let parts = rows.parts_of_spans(&rows.canvases[0]);
        let ranges: Vec<Range<usize>> = parts.iter().map(|(rows, _)| rows.clone()).collect();
        assert_eq!(ranges, [0..3, 3..5, 5..6, 6..10, 10..12]);
        let (mut given, mut hidden) = ([0; 5], [0; 5]);
        for number in 0..3000 {
            let fates = rules(0.2, 0.1).fates(&rows, &parts, || Key::new(1).at(number, 0));
            assert!(fates.iter().filter(|fate| **fate != Fate::Learned).count() <= 1);
            for (index, fate) in fates.into_iter().enumerate() {
                given[index] += usize::from(fate == Fate::Given);
                hidden[index] += usize::from(fate == Fate::Hidden);
            }
        }
        // Each of three parts in a third of a fifth, and of a tenth; the documents of one part never.
        assert!(given[..3].iter().all(|count| (150..250).contains(count)), "{given:?}");
        assert!(hidden[..3].iter().all(|count| (65..135).contains(count)), "{hidden:?}");
        assert_eq!((&given[3..], &hidden[3..]), (&[0; 2][..], &[0; 2][..]));
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_given_or_there_is_no_span() {
        let rows = rows();
        let parts = rows.parts_of_spans(&rows.canvases[0]);
        let learned = vec![Fate::Learned; 5];
        assert_eq!(rules(0.0, 0.0).fates(&rows, &parts, || unreachable!("nothing is given")), learned);
        let text: Vec<Part<'_>> = parts.iter().map(|(rows, _)| (rows.clone(), None)).collect();
        assert_eq!(rules(0.5, 0.5).fates(&rows, &text, || unreachable!("there is no span")), learned);
    }

    #[test]
    fn codes_weigh_what_the_recipe_says() {
        let rows = rows();
        let span = rows.spans.first();
        let with = |recipe| SpanRules { domains: vec![(CODES, recipe)], given: 0.0, hidden: 0.0 }.weight(span, 3.0);
        assert_eq!(rules(0.0, 0.0).weight(span, 3.0), 0.5);
        assert_eq!(rules(0.0, 0.0).weight(None, 3.0), 3.0);
        assert_eq!(with(DomainRecipe { weight: 0.5, bound: true }), 1.5);
        assert_eq!(with(DomainRecipe::default()), 3.0);
    }
}
