//! The kinds of recipes: one for each kind of thing that is trained.

use super::{CodecRecipe, Recipe, extends};
use crate::{Overrides, RecipeError};
use std::path::Path;

/// A recipe of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum RecipeKind {
    /// Of a language model.
    Language(Box<Recipe>),
    /// Of a codec: it has a table `codec`.
    Codec(Box<CodecRecipe>),
}

impl RecipeKind {
    /// Reads a recipe file as [`Recipe::load`] does, whatever its kind.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::load(path, overrides, |whole| match whole.get_ref().contains_key("codec") {
            true => extends::of_kind(whole).map(Self::Codec),
            false => extends::of_kind(whole).map(Self::Language),
        })
    }
}
