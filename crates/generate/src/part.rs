//! Parts of a request: spans that are filled by settings of their own, beside the others or behind them.

use crate::{Cache, GenerateError, Request, Settings, SpanConstraint};
use aquatint_diffusion::{Canvas, Domain, Kind, Layout, Process, SettingError, TokenId};
use aquatint_network::NetworkSpec;
use std::ops::Range;

/// Some spans of a canvas, and how they are filled.
#[derive(Debug, Clone)]
pub struct Part {
    /// The spans, by their numbers on the canvas; `None` for all that no other part has.
    pub spans: Option<Vec<usize>>,
    /// How they are filled.
    pub settings: Settings,
    /// The part that has to be filled before this one begins, by its number; `None` to begin at once.
    pub after: Option<usize>,
}

impl Part {
    /// All spans that no other part has, filled from the first step on.
    pub fn new(settings: Settings) -> Self {
        Self { spans: None, settings, after: None }
    }

    /// Fills these spans and no others.
    #[must_use]
    pub fn with_spans(mut self, spans: Vec<usize>) -> Self {
        self.spans = Some(spans);
        self
    }

    /// Begins when another part is filled.
    #[must_use]
    pub fn with_after(mut self, part: usize) -> Self {
        self.after = Some(part);
        self
    }
}

/// A part with the request that it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartOf<'a> {
    pub(crate) request: &'a Request,
    pub(crate) number: usize,
}

impl<'a> PartOf<'a> {
    pub(crate) fn part(self) -> &'a Part {
        &self.request.parts[self.number]
    }

    pub(crate) fn settings(self) -> &'a Settings {
        &self.part().settings
    }

    /// Whether a span of the canvas is one of its own.
    pub(crate) fn has_span(self, span: usize) -> bool {
        let is_of = |part: &Part| part.spans.as_ref().is_some_and(|spans| spans.contains(&span));
        match &self.part().spans {
            Some(_) => is_of(self.part()),
            None => !self.request.parts.iter().any(is_of),
        }
    }

    /// The positions of its spans; where it has all there are, the whole canvas.
    pub(crate) fn ranges(self) -> Vec<Range<usize>> {
        let canvas = &self.request.canvas;
        if self.request.parts.len() == 1 && self.part().spans.is_none() {
            return std::iter::once(0..canvas.len()).collect();
        }
        let own = canvas.spans().iter().enumerate().filter(|(number, _)| self.has_span(*number));
        own.map(|(_, span)| span.positions.clone()).collect()
    }

    /// The open positions that it fills, ascending.
    pub(crate) fn open(self) -> Vec<usize> {
        let ranges = self.ranges();
        let open = self.request.canvas.open_positions();
        open.into_iter().filter(|position| ranges.iter().any(|range| range.contains(position))).collect()
    }

    /// The tokens that it writes nowhere in spans of a domain, not even to end one. What is forbidden elsewhere may be what
    /// a domain has.
    pub(crate) fn never_written(self, domain: &Domain) -> impl Iterator<Item = TokenId> {
        let (request, settings) = (self.request, self.settings());
        let lengths = settings.length_tokens;
        let (writes, never) = match settings.editing {
            Some(_) => (lengths, None),
            None => (None, lengths),
        };
        let is_written =
            move |token: &TokenId| request.ends.contains(token) || writes.is_some_and(|tokens| tokens.contains(*token));
        let own = if *domain == Domain::ANY { 0..0 } else { domain.ids.clone() };
        let is_forbidden = move |token: &TokenId| !is_written(token) && !own.contains(token);
        let forbidden = request.forbidden.iter().copied().filter(is_forbidden);
        let never = never.into_iter().flat_map(|tokens| [tokens.delete(), tokens.insert()]);
        forbidden.chain(never).chain(settings.choice.suppressed.iter().copied())
    }

    /// What the text of its spans may be.
    pub(crate) fn constraints(self) -> impl Iterator<Item = &'a SpanConstraint> {
        self.request.constraints.iter().filter(move |constraint| self.has_span(constraint.span))
    }
}

impl Request {
    /// A part with its request.
    pub(crate) fn part(&self, number: usize) -> PartOf<'_> {
        PartOf { request: self, number }
    }

    /// All parts in their order.
    pub(crate) fn each_part(&self) -> impl Iterator<Item = PartOf<'_>> {
        (0..self.parts.len()).map(|number| self.part(number))
    }
}

fn refuse<T>(parameter: &'static str, given: String, allowed: String, hint: &str) -> Result<T, GenerateError> {
    Err(GenerateError::Setting(SettingError { parameter, given, allowed, hint: Some(hint.to_owned()) }))
}

/// Refuses parts that do not divide the canvas, or that the model cannot fill beside each other.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check(request: &Request, spec: &NetworkSpec, process: &dyn Process) -> Result<(), GenerateError> {
    check_division(request)?;
    check_order(&request.parts)?;
    let [first, others @ ..] = request.parts.as_slice() else { return Ok(()) };
    if others.is_empty() {
        return Ok(());
    }
    let count = request.parts.len();
    let one = |why: &str| {
        refuse(
            "parts",
            count.to_string(),
            format!("1, since {why}"),
            "fill one part after another, as requests of their own",
        )
    };
    if matches!(spec.attention, Layout::Causal | Layout::CausalPrefix { .. }) {
        return one(&format!("a {} model writes from left to right", spec.attention));
    }
    if spec.reads_time() {
        return one("the model reads one time for the whole canvas");
    }
    if process.point_size().is_some() {
        return one(&format!("the process {} takes all positions through the same times", process.name()));
    }
    let length = readable(&request.canvas);
    if length > spec.context_length {
        return one(&format!("the canvas of {length} positions is longer than the context of {}", spec.context_length));
    }
    if let (Some(Cache::Dual), Layout::Block { .. }) = (first.settings.cache, spec.attention) {
        let hint = "the rows that it leaves out are those of other sub-blocks, which other parts change";
        return refuse(
            "cache",
            Cache::Dual.to_string(),
            "none, exact, where a request has several parts".to_owned(),
            hint,
        );
    }
    for part in others {
        let (own, shared) = (&part.settings, &first.settings);
        let name = |cache: Cache| cache.to_string();
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        let unlike = [
            ("cache", own.cache.map(name), shared.cache.map(name)),
            ("cache_refresh", own.cache_refresh.map(|n| n.to_string()), shared.cache_refresh.map(|n| n.to_string())),
            ("blocks_from", Some(own.blocks_from().to_string()), Some(shared.blocks_from().to_string())),
        ];
        // The canvas is read once for all parts.
        if let Some((parameter, given, allowed)) =
            unlike.into_iter().find(|(_, given, allowed)| given.is_some() && given != allowed)
        {
            let hint = "all parts are read together: set it where the first one has it";
            return refuse(parameter, or_none(given), format!("{}, as in the first part", or_none(allowed)), hint);
        }
    }
    Ok(())
}

/// Refuses spans that are none, that several parts have, or that no part has although something of them is open.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check_division(request: &Request) -> Result<(), GenerateError> {
    let (spans, parts) = (request.canvas.spans(), &request.parts);
    if parts.is_empty() {
        return refuse(
            "parts",
            "0".to_owned(),
            "1 or more".to_owned(),
            "a part has the settings of the spans that it fills",
        );
    }
    let mut owners = vec![None; spans.len()];
    let named =
        parts.iter().enumerate().flat_map(|(part, of)| of.spans.iter().flatten().map(move |span| (part, *span)));
    for (part, span) in named {
        let Some(owner) = owners.get_mut(span) else {
            let allowed = format!("numbers of the canvas's {} spans, counted from 0", spans.len());
            return refuse(
                "spans",
                format!("{span} in part {part}"),
                allowed,
                "spans are counted in the order of the canvas",
            );
        };
        if let Some(other) = owner.replace(part) {
            let allowed = format!("spans that no other part has; part {other} has it too");
            return refuse("spans", format!("{span} in part {part}"), allowed, "each span is filled by one part");
        }
    }
    let rest = parts.iter().filter(|part| part.spans.is_none()).count();
    if rest > 1 {
        let allowed = "given in all parts but one, which has the rest".to_owned();
        return refuse("spans", format!("missing in {rest} parts"), allowed, "name the spans of each part");
    }
    let is_open = |span: usize| spans[span].positions.clone().any(|position| request.canvas.is_open(position));
    match (0..spans.len()).find(|span| rest == 0 && owners[*span].is_none() && is_open(*span)) {
        Some(span) => {
            let allowed = "a part for each span with open positions".to_owned();
            refuse(
                "spans",
                format!("without span {span}"),
                allowed,
                "a part without spans has all that no other part has",
            )
        }
        None => Ok(()),
    }
}

/// Refuses parts that wait for one that is not there, or for themselves.
fn check_order(parts: &[Part]) -> Result<(), GenerateError> {
    for (number, part) in parts.iter().enumerate() {
        let mut before = part.after;
        for _ in parts {
            let Some(other) = before else { break };
            let Some(next) = parts.get(other) else {
                let allowed = format!("numbers of the {} parts, counted from 0", parts.len());
                return refuse("after", format!("{other} in part {number}"), allowed, "leave it out to begin at once");
            };
            before = next.after;
        }
        if before.is_some() {
            let given = part.after.map_or_else(String::new, |after| format!("{after} in part {number}"));
            return refuse(
                "after",
                given,
                "a part that does not wait for this one".to_owned(),
                "leave it out to begin at once",
            );
        }
    }
    Ok(())
}

/// Positions that are no padding.
pub(crate) fn readable(canvas: &Canvas) -> usize {
    (0..canvas.len()).filter(|p| canvas.kind(*p) != Some(Kind::Padding)).count()
}
