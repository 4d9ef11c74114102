//! Conversations as canvases: what is said to the model is given, its answers are learned.
//!
//! A conversation is rendered by a chat template, turn by turn, so that each answer stands behind exactly the text that
//! asks for it in use. The answer is learned up to the token that ends its turn. Where a template writes earlier turns in
//! another form once others follow (thoughts left out, say), each answer has a canvas of its own. The last answer may be
//! filled with end tokens, which are learned, so that the model learns how long answers are (LLaDA, 2502.09992, section
//! 2.3). Nothing is ever cut: a conversation that is longer than a canvas is left out and counted.
//!
//! Conversations are kept in memory, 9 bytes a token.

use crate::best_fit::BestFit;
use crate::document_hash::DocumentHash;
use crate::{CanvasBatch, canvases};
use crate::{Conversation, CorpusError, Overlap, SourceReport, SourceSnapshot, StructuredRow, StructuredRows};
use aquatint_vocabulary::{ChatTemplate, Message, Role, TokenId, UnknownText, Vocabulary};
use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

/// How conversations become canvases.
#[derive(Debug, Clone, Copy)]
pub struct ConversationLayout<'a> {
    /// Text to tokens.
    pub vocabulary: &'a Vocabulary,
    /// Turns to text.
    pub template: &'a ChatTemplate,
    /// Positions of a canvas.
    pub canvas_length: usize,
    /// The last answer of a conversation is filled with end tokens up to so many positions, as far as the canvas goes. 0
    /// for the one end that every answer has.
    pub answer_length: usize,
    /// Whether conversations share canvases. They do not see each other.
    pub packing: bool,
}

/// A conversation in tokens, or one answer of it with what stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationTokens {
    /// The tokens, `T`.
    pub tokens: Vec<TokenId>,
    /// UTF-8 bytes of answers that each token stands for, `T`; 0 for a given one.
    pub text_bytes: Vec<u32>,
    /// Whether each is given, `T`.
    pub given: Vec<bool>,
    /// What the vocabulary cannot write of the answers.
    pub unknown: UnknownText,
}

/// Makes the sequences of a row, or says why there are none.
pub(crate) type ReadSequences<'a, T> = dyn Fn(&T) -> Result<Vec<ConversationTokens>, String> + 'a;

/// Keeps the sequences of a row, each of which a canvas holds.
pub(crate) type KeepSequences<'a> = dyn FnMut(&mut ConversationCanvases, Vec<ConversationTokens>) + 'a;

/// A conversation, or a preference, that no canvas holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongConversation {
    /// Its file.
    pub file: PathBuf,
    /// The number of its line.
    pub row: u64,
    /// Its tokens.
    pub tokens: usize,
}

/// What a source of conversations gave, and what it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationReport {
    /// Its conversations that are learned, as documents, and its rows.
    pub source: SourceReport,
    /// Those that are longer than a canvas and left out.
    pub too_long: u64,
    /// The first of them.
    pub first_too_long: Option<LongConversation>,
}

impl ConversationTokens {
    fn give(&mut self, text: &str, vocabulary: &Vocabulary) -> Result<(), String> {
        let tokens = vocabulary.encode_marked(text).map_err(|error| error.to_string())?;
        self.push(&tokens, None, true);
        Ok(())
    }

    pub(crate) fn push(&mut self, tokens: &[TokenId], text_bytes: Option<&[u32]>, given: bool) {
        self.tokens.extend_from_slice(tokens);
        self.given.extend(std::iter::repeat_n(given, tokens.len()));
        match text_bytes.filter(|_| !given) {
            Some(text_bytes) => self.text_bytes.extend_from_slice(text_bytes),
            None => self.text_bytes.extend(std::iter::repeat_n(0, tokens.len())),
        }
    }

    /// The text of an answer's turn: what is said, the token that ends the turn, and what the template writes behind it,
    /// which is given; `is_last` leaves that out.
    fn answer(
        &mut self,
        turn: &str,
        said: &str,
        (learned, is_last): (bool, bool),
        vocabulary: &Vocabulary,
    ) -> Result<(), String> {
        let text = said.trim();
        let Some(start) = turn.find(text) else {
            return Err("the chat template changes the text of an answer".to_owned());
        };
        let (said, behind) = turn.split_at(start + text.len());
        let failed = |error: aquatint_vocabulary::VocabularyError| error.to_string();
        let encoded = vocabulary.encode_within(said).map_err(failed)?;
        self.unknown += encoded.unknown;
        self.push(&encoded.tokens, Some(&encoded.text_bytes), !learned);
        let (behind, ends) = (vocabulary.encode_marked(behind).map_err(failed)?, vocabulary.ends());
        // A template without an end of its turns: the answer has one nevertheless, or none would ever end.
        let own = behind.iter().position(|token| ends.contains(token));
        match own {
            Some(end) => self.push(&behind[..=end], None, !learned),
            None => self.push(&[vocabulary.required(Role::End).map_err(failed)?], None, !learned),
        }
        if !is_last {
            self.push(&behind[own.map_or(0, |end| end + 1)..], None, true);
        }
        Ok(())
    }
}

impl ConversationLayout<'_> {
    /// The tokens of a conversation: one sequence with all its answers, or one for each answer where the template writes
    /// earlier turns otherwise than the last. Nothing is cut, whatever the length.
    ///
    /// # Errors
    /// In words, when the template refuses the conversation or changes what an answer says.
    pub fn tokens(&self, conversation: &Conversation) -> Result<Vec<ConversationTokens>, String> {
        let Conversation { messages, learned, .. } = conversation;
        let last = conversation.last_answer();
        let render =
            |turns: &[Message], asks: bool| self.template.render(turns, asks).map_err(|error| error.to_string());
        let whole = render(&messages[..=last], false)?;
        // Where each answer's turn lies in the text that ends with it.
        let mut turns: Vec<(usize, Range<usize>, String)> = Vec::new();
        for (index, message) in messages.iter().enumerate().take(last + 1) {
            if message.role != "assistant" {
                continue;
            }
            let (before, ended) = (render(&messages[..index], true)?, render(&messages[..=index], false)?);
            if !ended.starts_with(&before) {
                return Err("the chat template does not put an answer behind the text that asks for it".to_owned());
            }
            turns.push((index, before.len()..ended.len(), ended));
        }
        let together = turns.iter().all(|(_, _, ended)| whole.starts_with(ended.as_str()));
        let mut sequences = Vec::new();
        let mut sequence = ConversationTokens::default();
        let mut done = 0;
        for (index, turn, ended) in &turns {
            if !together {
                if !learned[*index] {
                    continue;
                }
                (sequence, done) = (ConversationTokens::default(), 0);
            }
            let is_last = !together || *index == last;
            sequence.give(&ended[done..turn.start], self.vocabulary)?;
            let said = &messages[*index].content;
            sequence.answer(&ended[turn.clone()], said, (learned[*index], is_last), self.vocabulary)?;
            done = turn.end;
            if is_last {
                sequences.push(std::mem::take(&mut sequence));
            }
        }
        Ok(sequences)
    }

    /// Fills the last answer with end tokens.
    fn fill(&self, sequence: &mut ConversationTokens) -> Result<(), CorpusError> {
        let answer = sequence.given.iter().rev().take_while(|given| !**given).count();
        let room = self.canvas_length.saturating_sub(sequence.tokens.len());
        let count = self.answer_length.saturating_sub(answer).min(room);
        let end = self.vocabulary.required(Role::End)?;
        sequence.push(&vec![end; count], None, false);
        Ok(())
    }
}

/// The conversations of some sources as canvases, numbered from 0; those of a source that repeats have several numbers.
#[derive(Debug)]
pub struct ConversationCanvases {
    length: usize,
    tokens: Vec<TokenId>,
    text_bytes: Vec<u32>,
    given: Vec<bool>,
    /// Where each sequence lies in them.
    sequences: Vec<Range<usize>>,
    /// The hash of each sequence's tokens.
    contents: HashSet<u64>,
    /// The sequences of each canvas.
    canvases: Vec<Vec<u32>>,
    /// The canvas of each number.
    numbers: Vec<u32>,
    unknown: UnknownText,
}

impl ConversationCanvases {
    /// Reads the conversations of sources, in order, and lays them out. `progress` receives the conversations so far and
    /// returns whether to go on.
    ///
    /// # Errors
    /// When a source cannot be read, has too many bad rows, or has no conversation that a canvas holds; and
    /// [`CorpusError::Stopped`].
    pub fn read(
        snapshots: &[SourceSnapshot],
        layout: &ConversationLayout<'_>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(Self, Vec<ConversationReport>), CorpusError> {
        let mut laid = Self::empty(layout.canvas_length)?;
        let reports: Result<Vec<ConversationReport>, CorpusError> =
            snapshots.iter().map(|snapshot| laid.add(snapshot, layout, progress)).collect();
        Ok((laid, reports?))
    }

    /// No canvas yet, of so many positions.
    pub(crate) fn empty(length: usize) -> Result<Self, CorpusError> {
        if length < 2 || i32::try_from(length).is_err() {
            return Err(CorpusError::CanvasLength { given: length });
        }
        Ok(Self {
            length,
            tokens: Vec::new(),
            text_bytes: Vec::new(),
            given: Vec::new(),
            sequences: Vec::new(),
            contents: HashSet::new(),
            canvases: Vec::new(),
            numbers: Vec::new(),
            unknown: UnknownText::default(),
        })
    }

    /// The canvases so far.
    pub(crate) fn canvases(&self) -> u32 {
        self.canvases.len() as u32
    }

    /// Keeps a sequence that has a canvas of its own.
    pub(crate) fn keep_alone(&mut self, sequence: ConversationTokens) {
        self.canvases.push(vec![self.sequences.len() as u32]);
        self.keep(sequence);
    }

    fn add(
        &mut self,
        snapshot: &SourceSnapshot,
        layout: &ConversationLayout<'_>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<ConversationReport, CorpusError> {
        let mut fit = BestFit::new(self.length as u64);
        let read = |conversation: &Conversation| layout.tokens(conversation);
        let mut put = |laid: &mut Self, sequences: Vec<ConversationTokens>| {
            for sequence in sequences {
                let (number, size) = (laid.sequences.len() as u32, sequence.tokens.len() as u64);
                laid.keep(sequence);
                match layout.packing {
                    true => laid.canvases.extend(fit.put(number, size)),
                    false => laid.canvases.push(vec![number]),
                }
            }
        };
        let (first, rows) = (self.canvases(), snapshot.conversations());
        let report = self.add_rows(snapshot, (layout, rows), (&read, &mut put), progress)?;
        self.canvases.extend(fit.finish());
        self.number(first, snapshot.source().repeat);
        Ok(report)
    }

    /// Lays the rows of a source out: `read` makes sequences of a row, and `put` keeps them where a canvas holds each.
    pub(crate) fn add_rows<T: StructuredRow>(
        &mut self,
        snapshot: &SourceSnapshot,
        (layout, mut rows): (&ConversationLayout<'_>, StructuredRows<'_, T>),
        (read, put): (&ReadSequences<'_, T>, &mut KeepSequences<'_>),
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<ConversationReport, CorpusError> {
        let source = snapshot.source();
        let (mut documents, mut too_long, mut first_too_long) = (0, 0, None);
        while let Some(found) = rows.next().transpose()? {
            let (file, row) = found.place();
            let mut sequences = match read(&found) {
                Ok(sequences) => sequences,
                Err(reason) => {
                    rows.refuse(file, row, reason)?;
                    continue;
                }
            };
            let tokens = sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
            if tokens > self.length {
                too_long += 1;
                first_too_long.get_or_insert(LongConversation { file: file.to_path_buf(), row, tokens });
                continue;
            }
            documents += 1;
            sequences.iter_mut().try_for_each(|sequence| layout.fill(sequence))?;
            put(self, sequences);
            if !progress(documents) {
                return Err(CorpusError::Stopped);
            }
        }
        // A reason that showed only in tokens counts, too.
        let counts = rows.counts().clone();
        counts.check(source)?;
        if documents == 0 {
            if too_long == 0 {
                return Err(rows.nothing_left());
            }
            let (kind, length) = (T::NAME, self.length);
            let reason = format!("all {too_long} {kind}s are longer than a canvas of {length} tokens");
            let hint = Some("take a longer canvas, or shorter conversations");
            return Err(CorpusError::Empty { path: source.path.clone(), reason, hint });
        }
        let unread = snapshot.unread().to_vec();
        let source = SourceReport { path: source.path.clone(), documents, counts, unread };
        Ok(ConversationReport { source, too_long, first_too_long })
    }

    /// Numbers the canvases from `first` on, as often as their source is repeated.
    pub(crate) fn number(&mut self, first: u32, repeat: u32) {
        for _ in 0..repeat {
            self.numbers.extend(first..self.canvases());
        }
    }

    fn keep(&mut self, sequence: ConversationTokens) {
        let start = self.tokens.len();
        let mut content = DocumentHash::default();
        sequence.tokens.iter().for_each(|token| content.text(&format!("{token},")));
        self.contents.insert(content.take());
        self.tokens.extend(sequence.tokens);
        self.text_bytes.extend(sequence.text_bytes);
        self.given.extend(sequence.given);
        self.unknown += sequence.unknown;
        self.sequences.push(start..self.tokens.len());
    }

    /// How many canvases one epoch has, repetitions included.
    pub fn len(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// Whether there is no canvas at all.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Conversations, or answers of them that have a canvas of their own; each once.
    pub fn sequences(&self) -> u64 {
        self.sequences.len() as u64
    }

    /// Tokens of one epoch, given ones and repetitions included, padding not.
    pub fn tokens(&self) -> u64 {
        let canvases = self.numbers.iter().flat_map(|canvas| &self.canvases[*canvas as usize]);
        canvases.map(|sequence| self.sequences[*sequence as usize].len() as u64).sum()
    }

    /// UTF-8 bytes of all answers, each once.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes.iter().map(|bytes| u64::from(*bytes)).sum()
    }

    /// What the vocabulary cannot write of the answers.
    pub fn unknown(&self) -> UnknownText {
        self.unknown
    }

    /// Held-out conversations that are among these, in the same tokens.
    pub fn overlap(&self, held_out: &Self) -> Overlap {
        let documents = held_out.contents.intersection(&self.contents).count() as u64;
        Overlap { documents, of: held_out.contents.len() as u64, text_bytes: 0 }
    }

    /// The first number of each of `limit` equal parts, or all numbers where there is no limit or are fewer canvases.
    pub fn spread(&self, limit: Option<usize>) -> Vec<u64> {
        canvases::spread(self.len(), limit)
    }

    /// The canvases of these numbers, in this order.
    ///
    /// # Errors
    /// When a number is not below [`ConversationCanvases::len`].
    pub fn batch(&self, numbers: &[u64]) -> Result<CanvasBatch, CorpusError> {
        let mut batch = CanvasBatch::padding(numbers.len(), self.length);
        batch.given = vec![false; batch.tokens.len()];
        let mut document = 0;
        for (row, &number) in numbers.iter().enumerate() {
            let canvas = usize::try_from(number).ok().and_then(|number| self.numbers.get(number));
            let canvas = canvas.ok_or(CorpusError::NoSuchCanvas { given: number, count: self.len() })?;
            let mut position = row * self.length;
            for sequence in &self.canvases[*canvas as usize] {
                let range = self.sequences[*sequence as usize].clone();
                let end = position + range.len();
                batch.tokens[position..end].copy_from_slice(&self.tokens[range.clone()]);
                batch.text_bytes[position..end].copy_from_slice(&self.text_bytes[range.clone()]);
                batch.given[position..end].copy_from_slice(&self.given[range]);
                batch.documents[position..end].fill(document);
                document += 1;
                position = end;
            }
        }
        Ok(batch)
    }
}
