//! A request for text: its way through the scheduler, and what came of it.

use super::transcript::Transcript;
use super::{StopStrings, Usage};
use crate::app::App;
use crate::error::ApiError;
use crate::models::Loaded;
use crate::scheduler::{Cancel, Client, Ended, StepUpdate, Update, Work};
use aquatint::diffusion::Kind;
use aquatint::vocabulary::TokenId;
use aquatint::{Canvas, FinishReason, Outcome, Prepared, TemplateCanvas};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A canvas with one hole whose text is wanted.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) prepared: Prepared,
    pub(crate) client: Client,
    pub(crate) stop: StopStrings,
}

/// Something that happened on the way.
#[derive(Debug)]
pub(crate) enum TextEvent {
    /// The work begins.
    Started { canvas: Canvas, forward_passes: usize },
    /// A block begins.
    Block { block: usize, of: usize, positions: Vec<usize>, steps: usize },
    /// The canvas changed.
    Step(StepUpdate),
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
    /// The time was up or the server stopped.
    Cancelled,
}

impl Finish {
    /// The reason in OpenAI's words; `cancelled` is ours.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A written token with its probability when it was committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenToken {
    pub(crate) token: TokenId,
    pub(crate) probability: f64,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) text: String,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    /// The tokens of the text, in order; where a stop string cut it, those before the cut.
    pub(crate) tokens: Vec<WrittenToken>,
    pub(crate) outcome: Outcome,
    pub(crate) queued: Duration,
    pub(crate) took: Duration,
}

/// A request under way. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct TextRun {
    loaded: Arc<Loaded>,
    template_canvas: TemplateCanvas,
    updates: UnboundedReceiver<Update>,
    cancel: Cancel,
    transcript: Transcript,
    stop: StopStrings,
    /// Bytes of the text that were handed out.
    shown: usize,
    /// Bytes that were searched for stop strings.
    searched: usize,
    /// Where a stop string cuts the text.
    cut: Option<usize>,
    pending: VecDeque<TextEvent>,
}

impl TextRun {
    /// Hands the request to the scheduler.
    ///
    /// # Errors
    /// When the canvas is longer than allowed, or too much waits already.
    pub(crate) fn start(app: &App, submission: Submission) -> Result<Self, ApiError> {
        let Submission { loaded, prepared, client, stop } = submission;
        let Prepared { template_canvas, settings, .. } = prepared;
        let (length, limit) = (template_canvas.canvas().len(), app.settings.canvas_limit);
        if length > limit {
            let message = format!("the canvas has {length} positions; allowed: {limit}");
            return Err(ApiError::invalid(message).of("max_tokens").code("context_length_exceeded"));
        }
        let hole = template_canvas.holes().next();
        let (hole, owes_blank) = hole.ok_or_else(|| ApiError::invalid("the canvas has no open position"))?;
        let transcript = Transcript::new(template_canvas.canvas(), hole, owes_blank, &settings);
        let request = loaded.model.request(&template_canvas, settings);
        let (sender, updates) = unbounded_channel();
        let (cancel, deadline) = (Cancel::default(), Instant::now() + app.settings.time_limit);
        let work = Work { loaded: loaded.clone(), request, client, updates: sender, cancel: cancel.clone(), deadline };
        app.scheduler.submit(work)?;
        let (shown, searched, cut, pending) = (0, 0, None, VecDeque::new());
        Ok(Self { loaded, template_canvas, updates, cancel, transcript, stop, shown, searched, cut, pending })
    }

    /// What happens next; `None` behind the end.
    pub(crate) async fn next(&mut self) -> Option<TextEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let update = self.updates.recv().await?;
            self.take(update);
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
        Err(ApiError::unavailable("the server is stopping"))
    }

    fn take(&mut self, update: Update) {
        let vocabulary = &self.loaded.checkpoint().vocabulary;
        match update {
            Update::Started { canvas, forward_passes } => {
                self.pending.push_back(TextEvent::Started { canvas, forward_passes });
            }
            Update::Block { block, of, positions, steps } => {
                self.pending.push_back(TextEvent::Block { block, of, positions, steps });
            }
            Update::Step(step) => {
                self.transcript.step(&step, vocabulary);
                self.pending.push_back(TextEvent::Step(step));
                self.show();
            }
            Update::BlockCommitted => {
                self.transcript.settle(vocabulary);
                self.show();
            }
            Update::Ended(ended) => self.end(*ended),
        }
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
            self.pending.push_back(TextEvent::Text(text[self.shown..until].to_owned()));
            self.shown = until;
        }
        if self.cut.is_some() {
            self.cancel.cancel();
        }
    }

    fn end(&mut self, ended: Ended) {
        let completed = self.completed(ended);
        if let Ok(completed) = &completed
            && let Some(rest) = completed.text.get(self.shown..).filter(|rest| !rest.is_empty())
        {
            self.pending.push_back(TextEvent::Text(rest.to_owned()));
        }
        self.pending.push_back(TextEvent::Ended(completed.map(Box::new)));
    }

    fn completed(&self, ended: Ended) -> Result<Completed, ApiError> {
        let Ended { outcome, cause, queued, took } = ended;
        let outcome = outcome?;
        let vocabulary = &self.loaded.checkpoint().vocabulary;
        let (text, finish) = match (self.cut, cause) {
            (Some(cut), _) => (self.transcript.text()[..cut].to_owned(), Finish::Stop),
            // What is behind an open position is no text that can be read on from what was shown.
            (None, Some(_)) => (self.transcript.text().to_owned(), Finish::Cancelled),
            (None, None) => {
                let mut read = self.template_canvas.read(vocabulary, &outcome.canvas);
                let text = if read.holes.is_empty() { String::new() } else { read.holes.swap_remove(0) };
                let finish = if outcome.reason == FinishReason::End { Finish::Stop } else { Finish::Length };
                // The last tokens may have been those of a stop string.
                match self.stop.find(&text, 0) {
                    Some(cut) => (text[..cut].to_owned(), Finish::Stop),
                    None => (text, finish),
                }
            }
        };
        let given = self.template_canvas.canvas();
        let given = (0..given.len()).filter(|position| given.kind(*position) == Some(Kind::Given)).count();
        let usage = Usage::new(given, &outcome.statistics);
        let tokens = self.tokens(&outcome.canvas, &text);
        Ok(Completed { text, finish, usage, tokens, outcome, queued, took })
    }

    /// The tokens of the hole that make up a text, from its beginning.
    fn tokens(&self, canvas: &Canvas, text: &str) -> Vec<WrittenToken> {
        let vocabulary = &self.loaded.checkpoint().vocabulary;
        let positions = self.template_canvas.holes().next().map(|(hole, _)| hole).into_iter().flatten();
        let mut length = 0;
        let mut tokens = Vec::new();
        for position in positions.filter(|position| canvas.is_committed(*position)) {
            let token = canvas.tokens()[position];
            if length >= text.len() || vocabulary.is_special(token) {
                continue;
            }
            length += vocabulary.token_bytes(token).map_or_else(|| vocabulary.token_text(token).len(), <[u8]>::len);
            let probability = self.transcript.probability(position).unwrap_or(0.0);
            tokens.push(WrittenToken { token, probability });
        }
        tokens
    }
}
