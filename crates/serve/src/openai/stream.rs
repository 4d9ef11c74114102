//! Streams of server-sent events: chunks of one or several results as they come, in one response.

use crate::error::ApiError;
use crate::sse;
use crate::text::{Completed, TextEvent, TextRun};
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

/// Events that wait for a slow reader; a run waits behind them, and nobody else does.
const BUFFER: usize = 16;

/// What a protocol makes of the events of a result.
pub(super) trait Chunks: Send + Sync + 'static {
    /// The chunk before the first text, if there is one.
    fn first(&self, choice: usize) -> Option<Event>;
    /// More of the text; `None` where it is held back.
    fn text(&self, choice: usize, text: String) -> Option<Event>;
    /// The end of a result.
    fn end(&self, choice: usize, completed: &Completed) -> Vec<Event>;
    /// What comes behind the last result, if something does.
    fn last(&self, completed: &[Completed]) -> Option<Event>;
}

/// An event whose data is a value.
pub(super) fn data(value: &impl Serialize) -> Event {
    // A value of ours has string keys and finite numbers.
    Event::default().json_data(value).unwrap_or_else(|error| Event::default().comment(error.to_string()))
}

/// The response that streams these results.
pub(super) fn respond(runs: Vec<TextRun>, chunks: impl Chunks) -> Response {
    let (sender, mut receiver) = channel(BUFFER);
    tokio::spawn(all(runs, std::sync::Arc::new(chunks), sender));
    sse::response(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

async fn all(runs: Vec<TextRun>, chunks: std::sync::Arc<impl Chunks>, sender: Sender<Event>) {
    let mut tasks = JoinSet::new();
    let count = runs.len();
    for (choice, run) in runs.into_iter().enumerate() {
        let (chunks, sender) = (chunks.clone(), sender.clone());
        tasks.spawn(async move { (choice, one(choice, run, &*chunks, &sender).await) });
    }
    let mut completed: Vec<Option<Completed>> = (0..count).map(|_| None).collect();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((choice, Ok(Some(result)))) => completed[choice] = Some(result),
            // The client is gone.
            Ok((_, Ok(None))) => return,
            Ok((_, Err(error))) => {
                let _ = sender.send(data(&error.body())).await;
                return;
            }
            Err(error) => {
                let _ = sender.send(data(&ApiError::server(error.to_string()).body())).await;
                return;
            }
        }
    }
    let completed: Vec<Completed> = completed.into_iter().flatten().collect();
    for event in chunks.last(&completed).into_iter().chain([Event::default().data("[DONE]")]) {
        let _ = sender.send(event).await;
    }
}

/// Streams one result; `None` where the client is gone, which cancels it.
async fn one(
    choice: usize,
    mut run: TextRun,
    chunks: &impl Chunks,
    sender: &Sender<Event>,
) -> Result<Option<Completed>, ApiError> {
    let mut first = chunks.first(choice);
    loop {
        let event = tokio::select! {
            event = run.next() => event,
            () = sender.closed() => return Ok(None),
        };
        let out = match event {
            None => return Err(ApiError::stopping()),
            Some(TextEvent::Started(started)) => Some(denoising("started", &started)),
            Some(TextEvent::Block(block)) => Some(denoising("block", &block)),
            Some(TextEvent::Step(step)) => Some(denoising("step", &step)),
            Some(TextEvent::Text(text)) => chunks.text(choice, text),
            Some(TextEvent::Ended(ended)) => {
                let completed = *ended?;
                for event in first.take().into_iter().chain(chunks.end(choice, &completed)) {
                    if sender.send(event).await.is_err() {
                        return Ok(None);
                    }
                }
                return Ok(Some(completed));
            }
        };
        for event in out.is_some().then(|| first.take()).flatten().into_iter().chain(out) {
            if sender.send(event).await.is_err() {
                return Ok(None);
            }
        }
    }
}

/// What happens on the canvas, for a client that draws it. Clients drop the name of an event: to one that reads texts only
/// it is a chunk without choices, as the one with the usage is.
#[derive(Serialize)]
struct Denoising<'a, T> {
    choices: [(); 0],
    /// `started`, `block` or `step`.
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    event: &'a T,
}

fn denoising(kind: &'static str, event: &impl Serialize) -> Event {
    data(&Denoising { choices: [], kind, event }).event("denoising")
}
