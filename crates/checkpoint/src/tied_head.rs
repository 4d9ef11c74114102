//! Where the files of a model hold its tied head: under the name of the word vectors, of the head, or of both.
//!
//! A tied head is the word vectors. Some tools write it a second time under its own name, and `save_model` of the
//! safetensors library writes shared tensors once, under either name.

use crate::{CheckpointError, Weights};
use aquatint_network::families::{self, Family};
use aquatint_network::{HeadSpec, NetworkSpec, Role};

/// Lets the word vectors of a network with a tied head be found under their own name. What the files hold twice is
/// compared by [`Weights::check_copies`].
pub(crate) fn resolve(weights: &mut Weights, family: &dyn Family, spec: &NetworkSpec) {
    if !spec.head.tied {
        return;
    }
    let untied = NetworkSpec { head: HeadSpec { tied: false, ..spec.head }, ..spec.clone() };
    let name = |role| {
        let tensor = untied.tensors().into_iter().find(|tensor| tensor.role == role)?;
        Some(families::file_name(family, &tensor.name))
    };
    if let (Some(words), Some(head)) = (name(Role::Embedding), name(Role::Head)) {
        weights.join(&words, &head);
    }
}

impl Weights {
    /// Refuses a model whose files hold a tied head twice in different numbers.
    ///
    /// # Errors
    /// With both names, when the numbers differ in a bit or the shape is another one.
    pub(crate) fn check_copies(&self) -> Result<(), CheckpointError> {
        match self.copies().find(|(name, copy)| !self.is_same(name, copy)) {
            Some((name, copy)) => Err(CheckpointError::TiedHeadDiffers {
                head: copy.name.clone(),
                words: name.to_owned(),
                file: self.file_of(name).to_owned(),
            }),
            None => Ok(()),
        }
    }
}
