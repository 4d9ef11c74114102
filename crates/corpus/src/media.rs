//! What stands beside text in a document: `A fox in the snow. [[picture:fox.png]]`.
//!
//! A source with [`Source::media`](crate::Source::media) names files in its texts as templates do (`Media` of crate
//! `vocabulary` reads both): `[[picture:FILE]]`, `[[sound:FILE]]`. The codes stand in the document in place of the name. All
//! other double brackets are text, those of masks and of what is to be made among them.

use aquatint_diffusion::Domain;
use aquatint_vocabulary::{Media, TokenId};
use std::fmt::Debug;
use std::path::{Component, Path};

/// The codecs of a vocabulary, as packing needs them.
pub trait MediaCodes: Debug + Sync {
    /// The domains by their names, such as `picture`. Canvases are not cut between two codes of one.
    fn domains(&self) -> Vec<(&str, Domain)>;

    /// The tokens of a file within `media`, a folder or an archive: what opens the span, the codes, what closes it. `file`
    /// is a path without a step upwards.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be read; in words that name it.
    fn tokens(&self, domain: &str, media: &Path, file: &str) -> Result<Vec<TokenId>, String>;

    /// Equal where all files within `media` become the same tokens.
    ///
    /// # Errors
    /// When it cannot be read; in words that name it.
    fn fingerprint(&self, media: &Path) -> Result<u64, String>;
}

/// Text alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextOnly;

impl MediaCodes for TextOnly {
    fn domains(&self) -> Vec<(&str, Domain)> {
        Vec::new()
    }

    fn tokens(&self, domain: &str, _: &Path, file: &str) -> Result<Vec<TokenId>, String> {
        Err(format!("the model has no codec for `[[{domain}:{file}]]`"))
    }

    fn fingerprint(&self, _: &Path) -> Result<u64, String> {
        Ok(0)
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'text> {
    /// Text as it stands.
    Text(&'text str),
    /// A file by name.
    File {
        /// All of it, brackets included.
        whole: &'text str,
        /// The domain.
        domain: &'static str,
        /// The file within the source's media.
        file: String,
    },
}

/// Whether a name is that of something within a folder: texts of strangers do not lead out of it.
pub(crate) fn is_within(file: &str) -> bool {
    Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The parts of a text in their order; empty texts are left out.
pub(crate) fn pieces<'text>(text: &'text str, domains: &[(&str, Domain)]) -> Vec<Piece<'text>> {
    let (mut pieces, mut begin, mut from) = (Vec::new(), 0, 0);
    while let Some(open) = memchr::memmem::find(&text.as_bytes()[from..], b"[[").map(|found| from + found) {
        from = open + 1;
        let Some((Media { kind, file: Some(file), masks, .. }, end)) = Media::at(text, open) else { continue };
        let domain = kind.name();
        if !masks.is_empty() || !domains.iter().any(|(name, _)| *name == domain) {
            continue;
        }
        if begin < open {
            pieces.push(Piece::Text(&text[begin..open]));
        }
        (begin, from) = (end, end);
        pieces.push(Piece::File { whole: &text[open..begin], domain, file });
    }
    if begin < text.len() {
        pieces.push(Piece::Text(&text[begin..]));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOMAINS: [(&str, Domain); 2] = [("picture", Domain::ANY), ("sound", Domain::ANY)];

    fn file<'a>(whole: &'a str, domain: &'static str, file: &str) -> Piece<'a> {
        Piece::File { whole, domain, file: file.to_owned() }
    }

    #[test]
    fn files_are_named_in_double_brackets_and_all_else_is_text() {
        let fox = file("[[picture:a/fox.png]]", "picture", "a/fox.png");
        assert_eq!(pieces("A fox. [[picture:a/fox.png]]", &DOMAINS), [Piece::Text("A fox. "), fox.clone()]);
        assert_eq!(pieces("[[picture:a/fox.png]]", &DOMAINS), std::slice::from_ref(&fox));
        assert_eq!(
            pieces("[[[picture:a/fox.png]][[sound:b]]] x", &DOMAINS),
            [Piece::Text("["), fox, file("[[sound:b]]", "sound", "b"), Piece::Text("] x")]
        );
        assert_eq!(
            pieces("[[picture:[[ sound : b ]]", &DOMAINS),
            [Piece::Text("[[picture:"), file("[[ sound : b ]]", "sound", "b")]
        );
        let masked = "[[picture:a,mask=1x1+0x0]]";
        for text in
            ["[[video:a]]", "[[picture:]]", "[[picture]]", masked, "[[picture:a", "[[picture:a\nb]]", "[[ [[", "a"]
        {
            assert_eq!(pieces(text, &DOMAINS), [Piece::Text(text)], "{text}");
        }
        assert!(pieces("", &DOMAINS).is_empty());
        assert_eq!(pieces("[[picture:a]]", &[]), [Piece::Text("[[picture:a]]")]);
    }

    #[test]
    fn names_stay_within_the_folder() {
        for file in ["fox.png", "a/fox.png", "./a/./fox.png", "..fox"] {
            assert!(is_within(file), "{file}");
        }
        for file in ["/fox.png", "../fox.png", "a/../../fox.png", "a/.."] {
            assert!(!is_within(file), "{file}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(text in r"(\[\[|\]\]|\[|picture|sound|:|é|\n|a){0,12}") {
            let all: String = pieces(&text, &DOMAINS)
                .into_iter()
                .map(|piece| match piece { Piece::Text(text) => text, Piece::File { whole, .. } => whole })
                .collect();
            prop_assert_eq!(all, text);
        }
    }
}
