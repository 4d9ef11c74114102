//! Answers to conversations, compared with what people answered: exact match, token F1, ROUGE-L, and the answer of a
//! retrieval baseline, the best sentence of a passage by BM25.
//!
//! A row of such a file is a conversation ([`aquatint_corpus::Conversation`]) whose last answer is asked for. Fields beside
//! its turns: `references`, all answers that count as right (its own where there are none); `passage` and `question`, which
//! the baseline reads; and any by which rows are grouped.
//!
//! How sure a model is of its answers is measured by further drafts of them ([`draft_figures`]).

mod bm25;
mod drafts;
mod means;
mod measures;
mod report;

pub use bm25::{best_sentence, sentences};
pub use drafts::{DraftFigures, DraftedAnswer, RightAnswers, draft_figures};
pub use means::{Mean, Measured, measured};
pub use measures::{AnswerScores, exact_match, rouge_l, score, token_f1};
pub use report::{draft_page, draft_tables};

use crate::EvaluateError;
use aquatint_corpus::{Conversation, Conversations, ReadCounts, Source};
use aquatint_vocabulary::Message;
use serde_json::Value;

/// A conversation whose last answer is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// What is said before the answer.
    pub turns: Vec<Message>,
    /// The answers that count as right, at least one.
    pub references: Vec<String>,
    /// What the baseline reads, where the row has it.
    pub passage: Option<String>,
    /// What is to be answered, without its passage, where the row has it (`question`).
    pub query: Option<String>,
    /// The value of the field by which rows are grouped; `None` where they are not.
    pub group: Option<String>,
    /// The number of its line.
    pub row: u64,
}

impl Examined {
    /// The sentence of its passage that answers the question best by BM25.
    ///
    /// # Errors
    /// When the row has no passage or no question.
    pub fn retrieved(&self) -> Result<&str, EvaluateError> {
        match (&self.passage, &self.query) {
            (Some(passage), Some(query)) => Ok(best_sentence(query, passage)),
            (None, _) => Err(EvaluateError::NoField { field: "passage".to_owned(), row: self.row }),
            (_, None) => Err(EvaluateError::NoField { field: "question".to_owned(), row: self.row }),
        }
    }
}

/// The conversations of a source, grouped by a field of their rows if one is named, and what was counted while they were
/// read.
///
/// # Errors
/// When the source cannot be read, has too many bad rows or no conversation, or a row lacks the field.
pub fn examined(source: &Source, group: Option<&str>) -> Result<(Vec<Examined>, ReadCounts), EvaluateError> {
    let snapshot = source.snapshot(&mut |_| true)?;
    let mut conversations = snapshot.conversations();
    let mut all = Vec::new();
    while let Some(conversation) = next(&mut conversations)? {
        all.push(of(conversation, group)?);
    }
    if all.is_empty() {
        return Err(conversations.nothing_left().into());
    }
    Ok((all, conversations.counts().clone()))
}

fn next(conversations: &mut Conversations<'_>) -> Result<Option<Conversation>, EvaluateError> {
    Ok(conversations.next().transpose()?)
}

fn of(conversation: Conversation, group: Option<&str>) -> Result<Examined, EvaluateError> {
    let last = conversation.last_answer();
    let Conversation { mut messages, fields, row, .. } = conversation;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let references = fields.get("references").and_then(Value::as_array);
    let references = references.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let mut references: Vec<String> = references.collect();
    if references.is_empty() {
        references.push(messages[last].content.clone());
    }
    let group = match group {
        None => None,
        Some(field) => match fields.get(field) {
            Some(Value::String(value)) => Some(value.clone()),
            Some(value) => Some(value.to_string()),
            None => return Err(EvaluateError::NoField { field: field.to_owned(), row }),
        },
    };
    messages.truncate(last);
    Ok(Examined { turns: messages, references, passage: text("passage"), query: text("question"), group, row })
}
