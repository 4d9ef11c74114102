//! The kinds of recipes: one for each kind of thing that is trained.

use super::{CodecRecipe, MatcherRecipe, Recipe, extends};
use crate::{Overrides, RecipeError};
use aquatint_codec::{Medium, PictureConfig, Pictures, SoundConfig, Sounds};
use serde::de::Error as _;
use std::path::Path;
use toml::de::Error;

/// A recipe of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum RecipeKind {
    /// Of a language model.
    Language(Box<Recipe>),
    /// Of a codec of pictures: it has a table `codec` whose `kind` is "pictures".
    Pictures(Box<CodecRecipe<PictureConfig>>),
    /// Of a codec of sounds: it has a table `codec` whose `kind` is "sounds".
    Sounds(Box<CodecRecipe<SoundConfig>>),
    /// Of a matcher: it has a table `matcher`.
    Matcher(Box<MatcherRecipe>),
}

impl RecipeKind {
    /// Reads a recipe file as [`Recipe::load`] does, whatever its kind.
    ///
    /// # Errors
    /// As [`Recipe::load`], and when it is of a codec of an unknown kind.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::load(path, overrides, |whole| {
            if whole.get_ref().contains_key("matcher") {
                return extends::of_kind(whole).map(Self::Matcher);
            }
            let Some(codec) = whole.get_ref().get("codec") else {
                return extends::of_kind(whole).map(Self::Language);
            };
            let kind = codec.get_ref().get("kind").map(|kind| kind.get_ref());
            match kind.and_then(|kind| kind.as_str()) {
                Some(Pictures::KIND) => extends::of_kind(whole).map(Self::Pictures),
                Some(Sounds::KIND) => extends::of_kind(whole).map(Self::Sounds),
                _ => {
                    let given = kind.map_or("missing".into(), |kind| match kind.as_str() {
                        Some(name) => format!("\"{name}\""),
                        None => format!("of type {}", kind.type_str()),
                    });
                    let (one, other) = (Pictures::KIND, Sounds::KIND);
                    Err(Error::custom(format!("`codec.kind` is {given}; allowed: \"{one}\", \"{other}\"")))
                }
            }
        })
    }
}
