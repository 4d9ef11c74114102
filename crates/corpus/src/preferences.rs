//! Preferences as canvases: each has two, the better answer and behind it the worse one, each with what stands before it.

use crate::conversations::ConversationTokens;
use crate::{
    CanvasBatch, Conversation, ConversationCanvases, ConversationLayout, ConversationReport, CorpusError, Overlap,
    Preference, PreferredAnswers, SourceSnapshot,
};
use aquatint_vocabulary::{Role, UnknownText};

/// The preferences of some sources as pairs of canvases, numbered from 0; those of a source that repeats have several
/// numbers.
#[derive(Debug)]
pub struct PreferenceCanvases(ConversationCanvases);

impl ConversationLayout<'_> {
    /// The tokens of the better answer and of the worse one, each behind what is given. A text ends with an end token, as
    /// TRL has it; conversations are rendered by the template.
    ///
    /// # Errors
    /// In words, when there is no end token or no template, or the template refuses a conversation or has no one text for it.
    fn preferred(&self, preference: &Preference) -> Result<Vec<ConversationTokens>, String> {
        let failed = |error: aquatint_vocabulary::VocabularyError| error.to_string();
        match &preference.answers {
            PreferredAnswers::Texts { prompt, chosen, rejected } => {
                let begin = self.vocabulary.text_begin();
                let prompt = self.vocabulary.encode_text(prompt).map_err(failed)?;
                let end = self.vocabulary.required(Role::End).map_err(failed)?;
                let continued = |answer: &String| {
                    let mut tokens = ConversationTokens::default();
                    tokens.push(begin.as_slice(), None, true);
                    tokens.push(&prompt.tokens, None, true);
                    let encoded = match prompt.tokens.is_empty() {
                        true => self.vocabulary.encode_text(answer),
                        false => self.vocabulary.encode_within(answer),
                    };
                    let encoded = encoded.map_err(failed)?;
                    tokens.unknown += encoded.unknown;
                    tokens.push(&encoded.tokens, Some(&encoded.text_bytes), false);
                    tokens.push(&[end], None, false);
                    Ok(tokens)
                };
                [chosen, rejected].into_iter().map(continued).collect()
            }
            PreferredAnswers::Conversations { chosen, rejected } => {
                let whole = |conversation: &Conversation| match self.tokens(conversation)?.as_mut_slice() {
                    [one] => Ok(std::mem::take(one)),
                    _ => {
                        Err("the chat template writes earlier answers otherwise once others follow: prefer one answer"
                            .to_owned())
                    }
                };
                [chosen, rejected].into_iter().map(|conversation| whole(conversation)).collect()
            }
        }
    }
}

impl PreferenceCanvases {
    /// Reads the preferences of sources, in order, and lays them out; without a template those that are conversations are bad
    /// rows. `layout.packing` has no effect. `progress` receives the preferences so far and returns whether to go on.
    ///
    /// # Errors
    /// As [`ConversationCanvases::read`].
    pub fn read(
        snapshots: &[SourceSnapshot],
        (layout, has_template): (&ConversationLayout<'_>, bool),
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(Self, Vec<ConversationReport>), CorpusError> {
        let mut laid = ConversationCanvases::empty(layout.canvas_length)?;
        let read = |preference: &Preference| match preference.answers {
            PreferredAnswers::Conversations { .. } if !has_template => {
                Err("it is a conversation, and the model has no chat template".to_owned())
            }
            _ => layout.preferred(preference),
        };
        let mut reports = Vec::new();
        for snapshot in snapshots {
            let first = laid.canvases();
            let mut put = |laid: &mut ConversationCanvases, pair: Vec<ConversationTokens>| {
                pair.into_iter().for_each(|answer| laid.keep_alone(answer));
            };
            reports.push(laid.add_rows(snapshot, (layout, snapshot.preferences()), (&read, &mut put), progress)?);
            laid.number(first, snapshot.source().repeat);
        }
        Ok((Self(laid), reports))
    }

    /// How many pairs one epoch has, repetitions included.
    pub fn len(&self) -> u64 {
        self.0.len() / 2
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pairs, each once.
    pub fn pairs(&self) -> u64 {
        self.0.sequences() / 2
    }

    /// Tokens of one epoch, given ones and repetitions included, padding not.
    pub fn tokens(&self) -> u64 {
        self.0.tokens()
    }

    /// UTF-8 bytes of all answers, each once.
    pub fn text_bytes(&self) -> u64 {
        self.0.text_bytes()
    }

    /// What the vocabulary cannot write of the answers.
    pub fn unknown(&self) -> UnknownText {
        self.0.unknown()
    }

    /// Held-out answers that are among these, in the same tokens.
    pub fn overlap(&self, held_out: &Self) -> Overlap {
        self.0.overlap(&held_out.0)
    }

    /// The first number of each of `limit` equal parts, or all numbers where there are fewer pairs.
    pub fn spread(&self, limit: usize) -> Vec<u64> {
        crate::canvases::spread(self.len(), Some(limit))
    }

    /// The canvases of these pairs, in this order: of each the better answer, and behind it the worse one.
    ///
    /// # Errors
    /// When a number is not below [`PreferenceCanvases::len`].
    pub fn batch(&self, numbers: &[u64]) -> Result<CanvasBatch, CorpusError> {
        let both: Vec<u64> = numbers.iter().flat_map(|number| [2 * number, 2 * number + 1]).collect();
        self.0.batch(&both)
    }
}
