//! A request for text: its way through the scheduler, and what came of it.

use super::transcript::Transcript;
use super::{StopStrings, Usage};
use crate::app::App;
use crate::blocking::BlockingPool;
use crate::error::ApiError;
use crate::filling::Filling;
use crate::making::made_files;
use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::scheduler::{Cancelled, Client, Ended, Update};
use crate::sheet::{Sent, Sheet};
use crate::wire;
use aquatint::vocabulary::TokenId;
use aquatint::{FinishReason, MediaFile, Prepared, Settings, Statistics, TemplateCanvas};
use futures_util::future::try_join_all;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The part of a canvas that its text is.
const TEXT: usize = 0;

/// A canvas with one hole whose text is wanted, and maybe pictures and sounds that are made beside it.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) prepared: Prepared,
    pub(crate) client: Client,
    pub(crate) stop: StopStrings,
    /// Whether the canvas is watched.
    pub(crate) watched: bool,
    /// How many of the likeliest tokens are reported of each token.
    pub(crate) alternatives: usize,
}

/// Something that happened on the way.
#[derive(Debug)]
pub(crate) enum TextEvent {
    /// The work begins, where the canvas is watched.
    Started(wire::Started),
    /// A block begins, where the canvas is watched.
    Block(wire::Block),
    /// The canvas changed, where it is watched.
    Step(wire::Step),
    /// More of the text is final.
    Text(String),
    /// Nothing more comes.
    Ended(Result<Box<Completed>, ApiError>),
}

/// Why a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// An end token or a stop string.
    Stop,
    /// All tokens that were allowed are written.
    Length,
    /// The time was up, the server stopped, or the client cancelled it.
    Cancelled,
    /// A guard refused what was written.
    Refused,
}

impl Finish {
    /// Why a canvas is not filled any further.
    pub(crate) fn of(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::End => Self::Stop,
            FinishReason::Filled => Self::Length,
        }
    }

    /// The reason in OpenAI's words; `cancelled` is ours.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Refused => "content_filter",
        }
    }
}

/// A written token with its probability when it was committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenToken {
    pub(crate) token: TokenId,
    /// Characters of the text before its own.
    pub(crate) start: usize,
    pub(crate) probability: f64,
    /// The likeliest tokens of the same prediction, where they were requested.
    pub(crate) alternatives: Vec<(TokenId, f64)>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) text: String,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    /// The tokens of the text, in order; where a stop string cut it, those before the cut.
    pub(crate) tokens: Vec<WrittenToken>,
    /// The pictures and sounds that were made beside it.
    pub(crate) media: Vec<MediaFile>,
    pub(crate) queued: Duration,
    pub(crate) took: Duration,
}

/// A request under way. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct TextRun {
    loaded: Arc<Loaded>,
    template_canvas: TemplateCanvas,
    filling: Filling,
    seed: u64,
    sheet: Option<Sheet>,
    transcript: Transcript,
    stop: StopStrings,
    /// Bytes of the text that were handed out.
    shown: usize,
    /// Bytes that were searched for stop strings.
    searched: usize,
    /// Where a stop string cuts the text.
    cut: Option<usize>,
    pending: VecDeque<TextEvent>,
    metrics: Arc<Metrics>,
    blocking: BlockingPool,
    client: Client,
    makes_media: bool,
    begun: Instant,
}

impl TextRun {
    /// Hands the request to the scheduler; it is result `index` of those of its client's request.
    ///
    /// # Errors
    /// When the canvas is longer than allowed, or too much waits already.
    pub(crate) fn start(app: &App, index: usize, submission: Submission) -> Result<Self, ApiError> {
        let Submission { loaded, prepared, client, stop, watched, alternatives } = submission;
        let filling = Filling::start(app, &loaded, &prepared, client, alternatives)?;
        let Prepared { template_canvas, settings, .. } = prepared;
        let hole = template_canvas.holes().next();
        let (hole, owes_blank) = hole.ok_or_else(|| ApiError::invalid("the canvas has no open position"))?;
        let takes_back = |loaded: &Loaded, settings: &Settings| {
            let revises = !settings.remasking().is_none() || settings.revises() || settings.editing().is_some();
            // What a guard has opened again was written already.
            revises || loaded.model.guards().is_some()
        };
        let transcript = Transcript::new(&template_canvas, hole, owes_blank, takes_back(&loaded, &settings));
        let sheet = watched.then(|| Sheet::new(index, loaded.clone(), template_canvas.clone(), Sent::default()));
        let (shown, searched, cut, pending, seed) = (0, 0, None, VecDeque::new(), settings.seed());
        let (metrics, blocking, begun) = (app.metrics.clone(), app.blocking.clone(), Instant::now());
        let makes_media = template_canvas.media().any(|media| media.is_made);
        Ok(Self {
            loaded,
            template_canvas,
            filling,
            seed,
            sheet,
            transcript,
            stop,
            shown,
            searched,
            cut,
            pending,
            metrics,
            blocking,
            client,
            makes_media,
            begun,
        })
    }

    /// What happens next; `None` behind the end.
    pub(crate) async fn next(&mut self) -> Option<TextEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let update = self.filling.next().await?;
            let media = match &update {
                Update::Ended(ended) => self.media(ended).await,
                _ => Ok(Vec::new()),
            };
            self.take(update, media);
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the request cannot be served, or the network fails.
    pub(crate) async fn finish(mut self) -> Result<Box<Completed>, ApiError> {
        while let Some(event) = self.next().await {
            if let TextEvent::Ended(ended) = event {
                return ended;
            }
        }
        Err(ApiError::stopping())
    }

    /// Waits for the ends of several together, so that none of them waits to be read. One that a guard refuses is without text
    /// where others are not refused.
    ///
    /// # Errors
    /// The first that happens, where it is not a guard's: the others are cancelled; and a guard's where all are refused.
    pub(crate) async fn finish_all(runs: Vec<Self>) -> Result<Vec<Completed>, ApiError> {
        let finish = |run: Self| async {
            let without_text = run.without_text();
            match run.finish().await {
                Err(error) if error.is_refused() => Ok(Err((error, without_text))),
                ended => ended.map(Ok),
            }
        };
        let ended = try_join_all(runs.into_iter().map(finish)).await?;
        let are_all_refused = ended.iter().all(Result::is_err);
        let answer = |ended: Result<Box<Completed>, (ApiError, Completed)>| match ended {
            Err((error, _)) if are_all_refused => Err(error),
            Err((_, without_text)) => Ok(without_text),
            Ok(completed) => Ok(*completed),
        };
        ended.into_iter().map(answer).collect()
    }

    /// What is answered of a text that was refused.
    fn without_text(&self) -> Completed {
        let usage = Usage::new(self.template_canvas.canvas(), &Statistics::default());
        let (text, tokens, media, finish) = (String::new(), Vec::new(), Vec::new(), Finish::Refused);
        Completed { text, finish, usage, tokens, media, queued: Duration::ZERO, took: Duration::ZERO }
    }

    fn take(&mut self, update: Update, media: Result<Vec<MediaFile>, ApiError>) {
        let vocabulary = &self.loaded.checkpoint().vocabulary;
        match update {
            Update::Started { forward_passes } => {
                let started = self.sheet.as_ref().map(|sheet| sheet.started(self.seed, forward_passes));
                self.pending.extend(started.map(TextEvent::Started));
            }
            Update::Block(block) => {
                let block = self.sheet.as_ref().map(|sheet| sheet.block(block));
                self.pending.extend(block.map(TextEvent::Block));
            }
            Update::Step(step) => {
                self.transcript.step(&step, vocabulary);
                self.pending.extend(self.sheet.as_mut().map(|sheet| TextEvent::Step(sheet.step(&step))));
                self.show();
            }
            Update::BlockCommitted { part } if part != TEXT => {}
            Update::BlockCommitted { .. } => {
                self.transcript.settle(vocabulary);
                self.show();
            }
            Update::Ended(ended) => self.end(*ended, media),
        }
    }

    /// The files of what was made beside the text.
    async fn media(&self, ended: &Ended) -> Result<Vec<MediaFile>, ApiError> {
        let Ok(outcome) = &ended.outcome else { return Ok(Vec::new()) };
        if !self.makes_media {
            return Ok(Vec::new());
        }
        let (loaded, canvas) = (self.loaded.clone(), (self.template_canvas.clone(), outcome.canvas.clone()));
        self.blocking.run(self.client, move || made_files(&loaded, &canvas.0, &canvas.1)).await
    }

    /// Hands out the text that is final now, and cancels the request where a stop string ends it.
    fn show(&mut self) {
        if self.cut.is_some() {
            return;
        }
        let text = self.transcript.text();
        self.cut = self.stop.find(text, self.searched);
        self.searched = text.len();
        let until = self.cut.unwrap_or_else(|| self.stop.shown(text));
        if until > self.shown {
            if self.shown == 0 {
                self.metrics.first_text(self.begun.elapsed());
            }
            self.pending.push_back(TextEvent::Text(text[self.shown..until].to_owned()));
            self.shown = until;
        }
        // What is made beside the text is not whole with it.
        if self.cut.is_some() && !self.makes_media {
            self.filling.cancel(Cancelled::Whole);
        }
    }

    fn end(&mut self, ended: Ended, media: Result<Vec<MediaFile>, ApiError>) {
        let completed = media.and_then(|media| Ok(Completed { media, ..self.completed(ended)? }));
        if let Ok(completed) = &completed
            && let Some(rest) = completed.text.get(self.shown..).filter(|rest| !rest.is_empty())
        {
            if self.shown == 0 {
                self.metrics.first_text(self.begun.elapsed());
            }
            self.pending.push_back(TextEvent::Text(rest.to_owned()));
        }
        if let Ok(completed) = &completed {
            self.metrics.result(&completed.usage);
        }
        self.pending.push_back(TextEvent::Ended(completed.map(Box::new)));
    }

    fn completed(&self, ended: Ended) -> Result<Completed, ApiError> {
        let Ended { outcome, queued, took } = ended;
        let outcome = outcome?;
        let vocabulary = &self.loaded.checkpoint().vocabulary;
        let (text, finish, is_cut) = match (self.cut, Finish::of(outcome.reason)) {
            (Some(cut), _) => (self.transcript.text()[..cut].to_owned(), Finish::Stop, true),
            // What is behind an open position is no text that can be read on from what was shown.
            (None, Finish::Cancelled) => (self.transcript.text().to_owned(), Finish::Cancelled, false),
            (None, finish) => {
                let mut read = self.template_canvas.read(vocabulary, &outcome.canvas);
                let text = if read.holes.is_empty() { String::new() } else { read.holes.swap_remove(0) };
                // The last tokens may have been those of a stop string.
                match self.stop.find(&text, 0) {
                    Some(cut) => (text[..cut].to_owned(), Finish::Stop, true),
                    None => (text, finish, false),
                }
            }
        };
        let tokens = self.transcript.tokens(text.len(), vocabulary);
        // How far the work went beyond a stop string depends on who else is served; what counts does not.
        let counted = if is_cut { tokens.len() } else { outcome.statistics.tokens };
        let usage = Usage::new(self.template_canvas.canvas(), &Statistics { tokens: counted, ..outcome.statistics });
        Ok(Completed { text, finish, usage, tokens, media: Vec::new(), queued, took })
    }
}
