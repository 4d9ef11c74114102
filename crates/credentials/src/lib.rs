//! Content credentials: a signed statement of what made a picture, a sound or a text, bound to its bytes by a hash.
//!
//! The format is that of C2PA (<https://spec.c2pa.org/specifications/specifications/2.3/specs/C2PA_Specification.html>),
//! read and written by the crate `c2pa`, of which nothing is seen from outside. A [`Signer`] writes a [`Statement`] into the
//! bytes of a picture or a sound, or beside a text as a **sidecar**; [`read`] says what a file states, who signed it, and
//! whether both still fit the file. Nothing here uses the network: no time is asked of an authority, no list of trusted
//! certificates is fetched, and a manifest that lies elsewhere is not read.
#![forbid(unsafe_code)]

mod error;
mod report;
mod signer;
mod statement;

pub use error::CredentialsError;
pub use report::{Credentials, SignedBy, StatedAction, StatedIngredient, Validity, read, read_sidecar};
pub use signer::Signer;
pub use statement::{Digest, GENERATION, Ingredient, Origin, Relation, Statement};
