//! Content credentials: who signs the files that `generate` writes, and what is stated of them; what is read of any file.

#[cfg(test)]
#[expect(dead_code, reason = "here it is compiled for its test alone")]
mod absent;
mod reading;

pub(crate) use reading::detect;

use crate::arguments::SigningArguments;
use crate::failure::Failure;
use crate::session::Session;
use crate::{media, wire};
use aquatint::hub::ModelName;
use aquatint::{MediaFile, MediaFiles, Template};
use aquatint_checkpoint::{Checkpoint, Origin as ModelOrigin};
use aquatint_credentials::{CredentialsError, Digest, Ingredient, Origin, Relation, Signer, Statement};
use aquatint_vocabulary::{Media, MediaKind, Piece};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Who signs, and what is stated of all files of one command.
pub(crate) struct Signing {
    signer: Signer,
    /// What made them, with the prompt or its hash.
    common: Map<String, Value>,
    states_prompt: bool,
    media: Vec<Media>,
    files: MediaFiles,
    has_given_text: bool,
}

/// What a file is that is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signed<'a> {
    /// The text of the canvas.
    Text(&'a str),
    /// A picture or a sound: that of a number among all of the template.
    Media(usize, &'a MediaFile),
}

/// Who signs, where somebody does. It is refused here, before any work, where what is given cannot sign.
pub(crate) fn signer(arguments: &SigningArguments) -> Result<Option<Signer>, Failure> {
    let (Some(certificate), Some(key)) = (&arguments.sign_cert, &arguments.sign_key) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).map_err(|error| Failure::of_file("read", path, &error));
    let signer = Signer::new(&read(certificate)?, &read(key)?).map_err(|error| {
        let path = if matches!(error, CredentialsError::Key { .. }) { key } else { certificate };
        refused(path, &error)
    })?;
    Ok(Some(signer))
}

/// An error of a file's credentials.
pub(crate) fn refused(path: &Path, error: &CredentialsError) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display())).maybe_hint(error.hint())
}

impl Signing {
    /// Who signs what a template gives.
    pub(crate) fn new(
        signer: Signer,
        arguments: &SigningArguments,
        session: &Session,
        (typed, template): (&str, &Template),
        model: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut common = Map::new();
        common.insert("model".to_owned(), described(session.checkpoint(), model)?);
        match arguments.sign_prompt {
            true => common.insert("prompt".to_owned(), typed.into()),
            false => common.insert("prompt_sha256".to_owned(), json!(Digest::of(typed.as_bytes()))),
        };
        Ok(Self {
            signer,
            common,
            states_prompt: arguments.sign_prompt,
            media: template.media().cloned().collect(),
            files: media::files_of(template)?,
            has_given_text: template.pieces().iter().any(|piece| matches!(piece, Piece::Text(_))),
        })
    }

    /// A file with its credentials in it; of a text its credentials, which stand beside it.
    pub(crate) fn sign(&self, path: &Path, signed: Signed<'_>, outcome: &wire::Outcome) -> Result<Vec<u8>, Failure> {
        let statement = self.statement(path, signed, outcome)?;
        let written = match signed {
            Signed::Text(text) => self.signer.sidecar(&statement, text),
            Signed::Media(_, file) => self.signer.embed(&statement, file.media_type, &file.bytes),
        };
        written.map_err(|error| refused(path, &error).failed())
    }

    fn statement(&self, path: &Path, signed: Signed<'_>, outcome: &wire::Outcome) -> Result<Statement, Failure> {
        let given = self.media.iter().enumerate().filter_map(|(number, media)| {
            let file = media.file.as_ref()?;
            let is_parent = matches!(signed, Signed::Media(made, _) if made == number);
            Some(Ingredient {
                title: name_of(Path::new(file)),
                format: format_of(Path::new(file), media.kind),
                bytes: self.files.get(file)?.clone(),
                relation: if is_parent { Relation::Parent } else { Relation::Input },
            })
        });
        let ingredients: Vec<Ingredient> = given.collect();
        let has_given_parts = match signed {
            Signed::Text(_) => self.has_given_text,
            Signed::Media(..) => ingredients.iter().any(|ingredient| ingredient.relation == Relation::Parent),
        };
        let mut generation = self.common.clone();
        generation.insert("seed".to_owned(), outcome.seed.into());
        generation.insert("settings".to_owned(), self.settings(&outcome.settings)?);
        if let Some(settings) = &outcome.media_settings {
            generation.insert("media_settings".to_owned(), self.settings(settings)?);
        }
        Ok(Statement {
            title: name_of(path),
            time: SystemTime::now(),
            origin: if has_given_parts { Origin::Both } else { Origin::Model },
            generation: generation.into(),
            ingredients,
        })
    }

    /// Settings as `--format json` prints them, without what says what was asked unless the prompt is stated.
    fn settings(&self, settings: &wire::Settings) -> Result<Value, Failure> {
        let settings = if self.states_prompt { settings.clone() } else { settings.without_prompt() };
        serde_json::to_value(settings).map_err(|error| Failure::of(&error).context("could not write the settings"))
    }
}

/// What is stated of a model: its name without where it lies, and hashes of what it is made of.
fn described(checkpoint: &Checkpoint, typed: Option<&str>) -> Result<Value, Failure> {
    let name = match (&checkpoint.origin, typed) {
        (ModelOrigin::Builtin(name), _) => (*name).to_owned(),
        (_, Some(typed)) if typed.parse::<ModelName>().is_ok() && !Path::new(typed).exists() => typed.to_owned(),
        (ModelOrigin::Folder(path) | ModelOrigin::File(path), _) => name_of(path),
    };
    let mut weights = Map::new();
    checkpoint.visit_files(&mut |name, bytes| {
        weights.insert(name.to_owned(), json!(Digest::of(bytes)));
    })?;
    let mut model = json!({ "name": name, "weights_sha256": weights });
    if !checkpoint.spec.adapters.is_empty() {
        model["adapters"] = checkpoint.spec.adapters.iter().map(|adapter| adapter.name.as_str()).collect();
    }
    if let ModelOrigin::Folder(folder) = &checkpoint.origin
        && let Ok(recipe) = std::fs::read(folder.join("recipe.toml"))
    {
        model["recipe_sha256"] = json!(Digest::of(&recipe));
    }
    Ok(model)
}

/// The name of a file or a folder, without where it lies.
fn name_of(path: &Path) -> String {
    let whole: Option<PathBuf> =
        path.file_name().map_or_else(|| path.canonicalize().ok(), |_| Some(path.to_path_buf()));
    let name = whole.as_deref().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// What the name of a file ends with, or that of files of its kind.
fn format_of(path: &Path, kind: MediaKind) -> String {
    path.extension().map_or_else(|| media::extension(kind).to_owned(), |ending| ending.to_string_lossy().to_lowercase())
}
