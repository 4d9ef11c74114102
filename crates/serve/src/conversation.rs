//! Conversations as prompts: by the model's own template, and as plain text where it has none. Pictures and sounds stand
//! where they are said.

use crate::error::ApiError;
use crate::given_media::{GivenMedia, MOST};
use crate::models::Loaded;
use aquatint::vocabulary::{Media, MediaKind, Message, Piece, Template};
use aquatint::{MediaFiles, Prepared, SamplingOptions};
use serde::Deserialize;
use utoipa::ToSchema;

/// What is said in a turn: a text, or parts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or an array of parts with a `type`")]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a turn.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct Part {
    /// `text`, `image_url` or `input_audio`.
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    image_url: Option<ImageUrl>,
    input_audio: Option<InputAudio>,
}

/// A picture.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageUrl {
    /// A URL that holds it, as `data:image/png;base64,…`: PNG, JPEG or WebP. Nothing is fetched.
    url: String,
    /// Only `auto`: a model sees every picture as finely.
    detail: Option<String>,
}

/// A sound.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputAudio {
    /// The file in base64.
    data: String,
    /// `wav`, `flac` or what it is; its content decides.
    #[serde(rename = "format")]
    _format: String,
}

/// A conversation: its turns, and the pictures and sounds within them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<Message>,
    insets: Vec<Inset>,
    files: MediaFiles,
}

/// A picture or a sound within the text of a turn.
#[derive(Debug, Clone)]
struct Inset {
    /// Turns from this one to the end, itself among them: more may come in front.
    from_end: usize,
    /// Bytes of the turn's text before it.
    offset: usize,
    kind: MediaKind,
    /// Its file, which is called like the field that has it.
    file: String,
}

impl Content {
    /// The parts. `place` is the field that is named where there is something else.
    fn parts(&self, place: &str) -> Result<Vec<Said>, ApiError> {
        match self {
            Self::Text(text) => Ok(vec![Said::Text(text.clone())]),
            Self::Parts(parts) => {
                let said = |(index, part): (usize, &Part)| part.said(&format!("{place}[{index}]"));
                parts.iter().enumerate().map(said).collect()
            }
        }
    }
}

/// A part that was read.
enum Said {
    Text(String),
    Media { place: String, given: GivenMedia },
}

impl Part {
    fn said(&self, place: &str) -> Result<Said, ApiError> {
        let missing = |field: &str| {
            let place = format!("{place}.{field}");
            ApiError::invalid(format!("`{place}` is missing")).of(place)
        };
        match &*self.kind {
            "text" => self.text.clone().map(Said::Text).ok_or_else(|| missing("text")),
            "image_url" => {
                let ImageUrl { url, detail } = self.image_url.as_ref().ok_or_else(|| missing("image_url"))?;
                if let Some(detail) = detail.as_ref().filter(|detail| *detail != "auto") {
                    return Err(ApiError::field(&format!("{place}.image_url.detail"), format!("`{detail}`"), "`auto`"));
                }
                let place = format!("{place}.image_url.url");
                let given = GivenMedia::of_url(&place, url)?;
                match given.kind {
                    MediaKind::Picture => Ok(Said::Media { place, given }),
                    MediaKind::Sound => Err(ApiError::field(&place, "a sound", "a picture")),
                }
            }
            "input_audio" => {
                let audio = self.input_audio.as_ref().ok_or_else(|| missing("input_audio"))?;
                let place = format!("{place}.input_audio.data");
                let given = GivenMedia::of_base64(&place, MediaKind::Sound, &audio.data)?;
                Ok(Said::Media { place, given })
            }
            kind => {
                let place = format!("{place}.type");
                Err(ApiError::field(&place, format!("`{kind}`"), "`text`, `image_url`, `input_audio`"))
            }
        }
    }
}

impl Conversation {
    /// A conversation of texts.
    pub(crate) fn of(turns: Vec<Message>) -> Self {
        Self { turns, ..Self::default() }
    }

    /// What is said in one turn of a user.
    ///
    /// # Errors
    /// As [`Conversation::say`].
    pub(crate) fn of_content(content: &Content, place: &str) -> Result<Self, ApiError> {
        let mut one = Self::default();
        one.say(Message::new("user", ""), content, place)?;
        Ok(one)
    }

    /// Adds a turn; `place` is the field that has its content.
    ///
    /// # Errors
    /// When a part is none that can be read, or there are too many pictures and sounds.
    pub(crate) fn say(&mut self, message: Message, content: &Content, place: &str) -> Result<(), ApiError> {
        let said = content.parts(place)?;
        self.turn(message);
        for part in said {
            match part {
                Said::Text(text) => self.speak(&text),
                Said::Media { place, given } => self.insert_media(place, given)?,
            }
        }
        Ok(())
    }

    /// Adds a turn that says what it has in itself.
    pub(crate) fn turn(&mut self, message: Message) {
        self.insets.iter_mut().for_each(|inset| inset.from_end += 1);
        self.turns.push(message);
    }

    /// Adds a text to the last turn.
    pub(crate) fn speak(&mut self, text: &str) {
        self.turns.last_mut().into_iter().for_each(|turn| turn.content.push_str(text));
    }

    /// Adds a picture or a sound behind the text of the last turn; `place` is the field that has it.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn insert_media(&mut self, place: String, given: GivenMedia) -> Result<(), ApiError> {
        if self.insets.len() == MOST {
            return Err(ApiError::field(&place, "one more", &format!("{MOST} pictures and sounds in all")));
        }
        let GivenMedia { kind, bytes } = given;
        let offset = self.turns.last().map_or(0, |turn| turn.content.len());
        self.insets.push(Inset { from_end: 1, offset, kind, file: place.clone() });
        self.files.insert(place, bytes);
        Ok(())
    }

    /// The turns as the paragraphs of one text, with what is in them.
    fn template(&self) -> Template {
        let mut template = Template::default();
        let mut begun = false;
        for (index, turn) in self.turns.iter().enumerate() {
            let insets = self.insets.iter().filter(|inset| inset.from_end == self.turns.len() - index);
            let mut insets = insets.peekable();
            if turn.content.is_empty() && insets.peek().is_none() {
                continue;
            }
            template = template.followed_by(if begun { "\n\n" } else { "" });
            begun = true;
            let (mut at, mut behind) = (0, false);
            for inset in insets {
                let media = Media::given(inset.kind, inset.file.clone());
                let text = apart(&turn.content[at..inset.offset], behind, true);
                template = template.followed_by(text).with_media(media);
                (at, behind) = (inset.offset, true);
            }
            let text = &turn.content[at..];
            if !text.is_empty() {
                template = template.followed_by(apart(text, behind, false));
            }
        }
        match template.pieces().last() {
            Some(Piece::Media(_)) => template.followed_by(" "),
            _ => template,
        }
    }

    /// Makes it ready to be continued as the paragraphs of one text; `made` are pictures and sounds that are made beside what
    /// it says.
    ///
    /// # Errors
    /// When it does not fit the model, or the model lacks what is in it.
    pub(crate) fn prepare_plain(
        &self,
        loaded: &Loaded,
        made: &[MediaKind],
        options: &SamplingOptions,
    ) -> Result<Prepared, ApiError> {
        for inset in &self.insets {
            let Inset { kind, file, .. } = inset;
            let of_file = |error: ApiError| {
                ApiError::invalid(format!("`{file}` is a {kind}: {}", error.message())).of(file).code("invalid_value")
            };
            loaded.medium(*kind).map_err(of_file)?;
        }
        let template = self.template();
        Ok(match made.is_empty() {
            true => loaded.model.prepare_media(template, &self.files, options)?,
            false => loaded.model.prepare_beside(&template, made, &self.files, options)?,
        })
    }

    /// Makes it ready to be continued: by the model's template of conversations, and where there is none as
    /// [`Conversation::prepare_plain`] does.
    ///
    /// # Errors
    /// As [`Conversation::prepare_plain`], and when the template refuses the conversation.
    pub(crate) fn prepare(
        &self,
        loaded: &Loaded,
        tools: &[serde_json::Value],
        made: &[MediaKind],
        options: &SamplingOptions,
    ) -> Result<Prepared, ApiError> {
        let turns = &self.turns;
        if turns.is_empty() {
            return Err(ApiError::field("messages", "empty", "at least one message"));
        }
        let Some(chat) = &loaded.chat else { return self.prepare_plain(loaded, made, options) };
        let beyond = self.insets.first().map(|inset| (inset.file.as_str(), inset.kind));
        if let Some((place, kind)) = beyond.or(made.first().map(|kind| ("modalities", *kind))) {
            let allowed = "text: the template of conversations of this model has text only";
            return Err(ApiError::field(place, format!("with a {kind}"), allowed));
        }
        let refused = |error: aquatint::vocabulary::ChatError| {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            ApiError::invalid(format!("{error}{hint}")).of("messages")
        };
        let answers = turns.last().is_some_and(|turn| turn.role == "assistant");
        let text = match turns.split_last() {
            // A begun answer is continued: it stands behind the prompt that asks for one.
            Some((last, before)) if answers => {
                chat.render_with_tools(before, tools, true).map(|text| text + &last.content)
            }
            _ => chat.render_with_tools(turns, tools, true),
        };
        let tokens = loaded.vocabulary().encode_marked(&text.map_err(refused)?).map_err(aquatint::Error::from)?;
        Ok(loaded.model.prepare_tokens(&tokens, options)?)
    }
}

/// A text with a blank on the sides where a picture or a sound stands, as in the texts that models learn from.
fn apart(text: &str, behind: bool, before: bool) -> String {
    let lead = if behind && !text.starts_with(char::is_whitespace) { " " } else { "" };
    let trail = if before && !text.is_empty() && !text.ends_with(char::is_whitespace) { " " } else { "" };
    format!("{lead}{text}{trail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_where_it_is_said_with_a_blank_on_each_side() {
        let picture = || GivenMedia { kind: MediaKind::Picture, bytes: vec![1] };
        let mut conversation = Conversation::default();
        conversation.turn(Message::new("user", "A fox."));
        conversation.insert_media("a".to_owned(), picture()).unwrap();
        conversation.turn(Message::new("user", ""));
        conversation.turn(Message::new("user", ""));
        conversation.insert_media("b".to_owned(), picture()).unwrap();
        conversation.insert_media("c".to_owned(), picture()).unwrap();
        conversation.turns[2].content.push_str("Two ");
        conversation.insert_media("d".to_owned(), picture()).unwrap();
        conversation.turns[2].content.push_str("\nmore");
        // What tools say comes in front.
        conversation.turns.insert(0, Message::new("system", "[[1]]"));
        let expected = "\\[[1]]\n\nA fox. [[picture:a]]\n\n[[picture:b]] [[picture:c]] Two [[picture:d]]\nmore";
        assert_eq!(conversation.template().to_string(), expected);
        let mut last = Conversation::of(vec![Message::new("user", "See")]);
        last.insert_media("a".to_owned(), picture()).unwrap();
        assert_eq!(last.template().to_string(), "See [[picture:a]] ");
        for _ in 1..MOST {
            last.insert_media("b".to_owned(), picture()).unwrap();
        }
        let refused = last.insert_media("c".to_owned(), picture()).unwrap_err();
        assert_eq!(refused.message(), "`c` is one more; allowed: 16 pictures and sounds in all");
    }
}
