//! Which tokens have a role, by all files of a checkpoint together, and whether its tokens fit its network.

use crate::CheckpointError;
use aquatint_network::families::{Family, TokenRoles};
use aquatint_network::{NetworkKind, NetworkSpec};
use aquatint_vocabulary::{Role, RoleFile, Vocabulary};
use serde_json::{Value, json};

/// Takes out of a file what its family says is not to be followed.
pub(crate) fn ignore(family: &dyn Family, file: &str, contents: &mut Value) {
    let Some(contents) = contents.as_object_mut() else { return };
    let keys = family.facts().ignored_roles.iter().filter(|(of, _)| *of == file);
    keys.for_each(|(_, key)| {
        contents.shift_remove(*key);
    });
}

/// Names the tokens that begin and end a text in a `tokenizer_config.json` that does not: templates of conversations write
/// them.
pub fn name_marks(config: &mut Value, vocabulary: &Vocabulary) {
    for (key, role) in [("bos_token", Role::Begin), ("eos_token", Role::End)] {
        if config[key].is_null()
            && let Some(token) = vocabulary.role(role)
        {
            config[key] = vocabulary.token_text(token).into();
        }
    }
}

/// Takes the roles that `config.json` and other files state, and refuses a vocabulary that does not fit the network: with
/// more tokens than the embedding has rows, or without a mask where the network has one to read.
///
/// # Errors
/// When files disagree or name tokens that do not exist, or the vocabulary does not fit.
pub(crate) fn assign(
    vocabulary: &mut Vocabulary,
    spec: &NetworkSpec,
    roles: TokenRoles,
    files: &[RoleFile<'_>],
) -> Result<(), CheckpointError> {
    let (tokens, rows) = (vocabulary.len(), spec.vocabulary_size);
    if tokens > rows {
        return Err(CheckpointError::TooManyTokens { tokens, rows });
    }
    let TokenRoles { mask, end, pad, begin } = roles;
    let config = json!({
        "mask_token_id": mask, "eos_token_id": end, "pad_token_id": pad, "bos_token_id": begin,
    });
    let config = RoleFile { name: "config.json", contents: &config };
    vocabulary.assign_roles(&[&[config], files].concat(), rows)?;
    if spec.kind() == NetworkKind::Causal {
        // It reads a begin token in front of all texts, which is no position of theirs.
        vocabulary.set_adds_begin(false)?;
    }
    if spec.mask_token.is_some() && spec.kind() != NetworkKind::Causal {
        vocabulary.required(Role::Mask)?;
    }
    Ok(())
}
