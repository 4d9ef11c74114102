//! From a request's positions to a canvas.

use super::request::{CanvasInput, CanvasRequest, Renoise};
use crate::error::ApiError;
use crate::given_media::{GivenMedia, MOST};
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::sheet::Sent;
use crate::tokens::check_tokens;
use crate::wire::{self, Kind, Span, State};
use aquatint::diffusion::{CanvasError, Domain, Key, PositionState, Span as CanvasSpan, reopened_share};
use aquatint::generate::GenerateError;
use aquatint::vocabulary::{MediaKind, Original, Template, TokenId};
use aquatint::{Canvas, MediaFiles, Prepared, TemplateCanvas};
use std::collections::BTreeMap;

/// A canvas that can be handed to the scheduler.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) prepared: Prepared,
    pub(super) sent: Sent,
    pub(super) extent: Extent,
}

/// What gives a canvas its length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent {
    /// The positions of the request.
    Canvas,
    /// A template with holes.
    Template,
    /// A template without a hole, and the tokens that continue it.
    Continuation,
}

impl Extent {
    /// An error by the field of the request that is to blame, where it is about the length.
    pub(super) fn blame(self, error: ApiError) -> ApiError {
        match self {
            Self::Canvas => error.of_length("canvas"),
            Self::Template => error.of_length("template"),
            Self::Continuation => error.renamed("prompt", "template"),
        }
    }
}

/// Makes the canvas of a request ready.
///
/// # Errors
/// When a field has a value that it cannot have, or the canvas does not fit the model.
pub(super) fn prepare(loaded: &Loaded, request: &CanvasRequest, sampling: &SamplingFields) -> Result<Ready, ApiError> {
    let options = sampling.options(request.max_tokens)?;
    match (&request.template, &request.canvas) {
        (Some(template), None) => {
            if request.renoise.is_some() {
                return Err(ApiError::invalid("`renoise` needs `canvas`; a template has nothing written").of("renoise"));
            }
            let template = Template::parse(template).map_err(aquatint::Error::from);
            let template = template.map_err(|error| ApiError::from(error).of("template"))?;
            for media in template.media() {
                loaded.medium(media.kind).map_err(|error| error.of("template"))?;
            }
            let files = request.files()?;
            let is_named = |name: &String| template.media().any(|media| media.file.as_ref() == Some(name));
            if let Some(name) = files.keys().find(|name| !is_named(name)) {
                let place = format!("files.{name}");
                return Err(ApiError::invalid(format!("`{place}` is not named in `template`")).of(place));
            }
            let extent = if template.has_holes() { Extent::Template } else { Extent::Continuation };
            let prepared = loaded.model.prepare_media(template, &files, &options);
            let prepared = prepared.map_err(|error| extent.blame(blame_file(error, &files)))?;
            Ok(Ready { prepared, sent: Sent::default(), extent })
        }
        (None, Some(input)) => {
            if !request.files()?.is_empty() {
                return Err(ApiError::invalid("`files` needs `template`; a canvas has its codes").of("files"));
            }
            let mut canvas = canvas(input, loaded)?;
            let sent = Sent { spans: input.spans.clone(), originals: originals(input, loaded)? };
            if let Some(renoise) = &request.renoise {
                let opened = opened(renoise, &canvas, sampling.seed().unwrap_or_default())?;
                canvas = canvas.reopened(&opened).map_err(|error| refused(&error, input))?;
            }
            if canvas.open_positions().is_empty() {
                let message = "the canvas has no open position; `renoise` opens some again";
                return Err(ApiError::invalid(message).of("canvas"));
            }
            let template_canvas = TemplateCanvas::of_canvas(canvas, loaded.vocabulary());
            let (extent, prepared) = (Extent::Canvas, loaded.model.prepare_canvas(template_canvas, &options));
            let prepared = prepared.map_err(|error| extent.blame(error.into()))?;
            Ok(Ready { prepared, sent, extent })
        }
        _ => Err(ApiError::invalid("exactly one of `template` and `canvas` is needed").of("template")),
    }
}

/// An error about a picture or a sound by the field that is to blame: its file, or the template.
fn blame_file(error: aquatint::Error, files: &MediaFiles) -> ApiError {
    let is_media = matches!(error, aquatint::Error::Media(_));
    let error = ApiError::from(error);
    match files.keys().find(|name| error.param() == Some(name)) {
        Some(name) => error.of(format!("files.{name}")),
        None if is_media => error.of("template"),
        None => error,
    }
}

/// The canvas of positions as they are sent.
///
/// # Errors
/// When a position lacks its token, or a span or a closed position cannot be.
pub(super) fn canvas(input: &CanvasInput, loaded: &Loaded) -> Result<Canvas, ApiError> {
    let noise = Template::noise(loaded.vocabulary()).map_err(aquatint::Error::from)?;
    let mut positions: Vec<(TokenId, PositionState)> = Vec::with_capacity(input.positions.len());
    for (index, position) in input.positions.iter().enumerate() {
        let state = match position.state {
            State::Given => PositionState::Given,
            State::Written => PositionState::Committed,
            State::Open => PositionState::Open,
            State::Closed => PositionState::Closed,
        };
        let token = match (state, position.token) {
            (PositionState::Given | PositionState::Committed, Some(token)) => {
                if !loaded.is_of_codec(token) {
                    check_tokens(&[token], loaded.vocabulary(), |_| format!("canvas.positions[{index}].token"))?;
                }
                token
            }
            (PositionState::Given | PositionState::Committed, None) => {
                let place = format!("canvas.positions[{index}].token");
                let message = format!("`{place}` is missing; a position that is given or written has a token");
                return Err(ApiError::invalid(message).of(place));
            }
            _ => noise,
        };
        positions.push((token, state));
    }
    let mut spans: Vec<CanvasSpan> = Vec::new();
    for (index, span) in input.spans.iter().flatten().enumerate() {
        let domain = match span.media {
            Some(kind) => {
                let place = format!("canvas.spans[{index}].media");
                loaded.medium(kind.into()).map_err(|error| error.of(&place))?;
                let domain = loaded.domain(kind.into());
                check_codes(&positions, span, &domain, index)?;
                domain
            }
            None => Domain::ANY,
        };
        spans.push(CanvasSpan { positions: span.start..span.end, approximate: span.approximate, domain });
    }
    Canvas::from_positions(&positions, &spans).map_err(|error| refused(&error, input))
}

/// What stays of the given pictures of a canvas of which a part is made anew, by their first positions.
///
/// # Errors
/// When one is no picture, is said of something else, or a position that it names is not one of its own.
fn originals(input: &CanvasInput, loaded: &Loaded) -> Result<BTreeMap<usize, Original>, ApiError> {
    let mut originals = BTreeMap::new();
    for (index, span) in input.spans.iter().flatten().enumerate() {
        let Some(wire::Original { url, made }) = &span.original else { continue };
        let place = format!("canvas.spans[{index}].original");
        if originals.len() == MOST {
            return Err(ApiError::field(&place, "one more picture", &format!("at most {MOST} in all")));
        }
        let url_place = format!("{place}.url");
        let given = GivenMedia::of_url(&url_place, url)?;
        if span.media != Some(Kind::Picture) || given.kind != MediaKind::Picture {
            return Err(ApiError::field(&place, "there", "with `media` `picture`, and a picture"));
        }
        let positions = span.start..span.end;
        if let Some((number, other)) = made.iter().enumerate().find(|(_, position)| !positions.contains(position)) {
            let allowed = format!("{} to {}, the positions of the span", span.start, span.end - 1);
            return Err(ApiError::field(&format!("{place}.made[{number}]"), other, &allowed));
        }
        // What is no longer as it was given is made.
        let is_made = |position: usize| {
            made.contains(&position) || input.positions.get(position).is_none_or(|it| it.state != State::Given)
        };
        let made = positions.map(is_made).collect();
        let original = loaded.model.original(given.kind, &url_place, &given.bytes, made);
        originals.insert(span.start, original.map_err(|error| ApiError::from(error).of(&url_place))?);
    }
    Ok(originals)
}

/// Whether all that is known of a picture or a sound is codes of it.
fn check_codes(
    positions: &[(TokenId, PositionState)],
    span: &Span,
    domain: &Domain,
    index: usize,
) -> Result<(), ApiError> {
    let known = positions.iter().enumerate().take(span.end).skip(span.start);
    let mut known = known.filter(|(_, (_, state))| matches!(state, PositionState::Given | PositionState::Committed));
    match known.find(|(_, (token, _))| !domain.ids.contains(token)) {
        Some((position, (token, _))) => {
            let allowed =
                format!("{} to {}, the codes of `canvas.spans[{index}]`", domain.ids.start, domain.ids.end - 1);
            Err(ApiError::field(&format!("canvas.positions[{position}].token"), token, &allowed))
        }
        None => Ok(()),
    }
}

/// A canvas that cannot be, by the field that is to blame.
fn refused(error: &CanvasError, input: &CanvasInput) -> ApiError {
    let place = match error {
        CanvasError::NoSpan { start, end, .. } => {
            let is_it = |span: &Span| (span.start, span.end) == (*start, *end);
            let index = input.spans.iter().flatten().position(is_it).unwrap_or_default();
            format!("canvas.spans[{index}]")
        }
        CanvasError::PaddedSpan { position }
        | CanvasError::StrayClosed { position }
        | CanvasError::Closed { position } => format!("canvas.positions[{position}]"),
        _ => "canvas".to_owned(),
    };
    ApiError::invalid(error.to_string()).of(place)
}

/// The positions that are opened again: a share of those that are named and written, at least one.
fn opened(renoise: &Renoise, canvas: &Canvas, seed: u64) -> Result<Vec<usize>, ApiError> {
    if let Some(beyond) = renoise.positions.iter().find(|position| **position >= canvas.len()) {
        let allowed = format!("below {}, the length of the canvas", canvas.len());
        return Err(ApiError::field("renoise.positions", beyond, &allowed));
    }
    let named = renoise.positions.iter().copied();
    let written: Vec<usize> = named.filter(|position| canvas.is_committed(*position)).collect();
    let opened = reopened_share(&written, renoise.strength, Key::new(seed));
    let opened = opened.map_err(|error| ApiError::from(GenerateError::Setting(error)).of("renoise.strength"))?;
    if opened.is_empty() {
        let (given, allowed) = ("without a written position", "at least one that is `written`");
        return Err(ApiError::field("renoise.positions", given, allowed));
    }
    Ok(opened)
}
