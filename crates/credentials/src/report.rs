//! What the credentials of a file say, and whether they hold.

use crate::error::{CredentialsError, in_one_line};
use crate::statement::GENERATION;
use c2pa::assertions::{Actions, SoftwareAgent};
use c2pa::{Context, Manifest, Reader, ValidationState};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Cursor;

/// What the credentials of a file say, and whether they hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Credentials {
    /// Whether they hold.
    pub validity: Validity,
    /// Why they do not, or are not trusted: codes of C2PA, such as `assertion.dataHash.mismatch`, without repetition.
    pub reasons: Vec<String>,
    /// Who signed.
    pub signed_by: Option<SignedBy>,
    /// The program that wrote them, as in `Aquatint 0.1.0`.
    pub generator: Option<String>,
    /// The name of the file for people.
    pub title: Option<String>,
    /// How the file came to be, first things first.
    pub actions: Vec<StatedAction>,
    /// What Aquatint states of how it was made; none of files of other programs.
    pub generation: Option<Value>,
    /// What was given.
    pub ingredients: Vec<StatedIngredient>,
}

/// A file that was given, as the credentials say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedIngredient {
    /// Its name for people.
    pub title: String,
    /// What it is to the file that was made, in C2PA's words: `inputTo`, `parentOf` or `componentOf`.
    pub relation: String,
}

/// Whether credentials hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// They fit the file, the signature is that of the certificate, and somebody trusted vouches for that one.
    Trusted,
    /// They fit the file and the signature is that of the certificate, which anybody may have made.
    Valid,
    /// The file or the credentials are not as they were signed.
    Invalid,
}

impl std::fmt::Display for Validity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        })
    }
}

/// Who signed, as the certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// The common name of the certificate.
    pub name: Option<String>,
    /// Its organisation.
    pub organisation: Option<String>,
    /// By which algorithm, as in `es256`.
    pub algorithm: Option<String>,
    /// When, by an authority of time stamps; none where none was asked.
    pub time: Option<String>,
}

/// Something that was done, as the credentials say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedAction {
    /// What, in C2PA's words, such as `c2pa.created`.
    pub action: String,
    /// When, by the clock of whoever signed.
    pub time: Option<String>,
    /// The program that did it.
    pub program: Option<String>,
    /// Where the content comes from: the address of a term, IPTC's in most cases.
    pub source: Option<String>,
}

/// Reads the credentials that stand in a file; `None` where there are none. `format` is its media type or what its name
/// ends with, and counts where the content does not say. `anchors` are certificates in PEM that are trusted.
///
/// # Errors
/// When there are some that cannot be read, or that lie elsewhere; when the file is not one of the format; and when `anchors`
/// are no certificates.
pub fn read(format: &str, bytes: &[u8], anchors: Option<&str>) -> Result<Option<Credentials>, CredentialsError> {
    match reader(anchors)?.with_stream(format, Cursor::new(bytes)) {
        Ok(reader) => Ok(Some(Credentials::of(&reader))),
        // There is nothing, or nothing can be there.
        Err(c2pa::Error::JumbfNotFound | c2pa::Error::ProvenanceMissing | c2pa::Error::UnsupportedType) => Ok(None),
        // It is the file that cannot be read, and nothing was found in it.
        Err(error @ (c2pa::Error::IoError(_) | c2pa::Error::InvalidAsset(_))) => {
            Err(CredentialsError::Container { reason: in_one_line(error) })
        }
        Err(error) => Err(damaged(&error)),
    }
}

/// Reads the credentials of a file that stand beside it.
///
/// # Errors
/// When they cannot be read, or `anchors` are no certificates.
pub fn read_sidecar(
    sidecar: &[u8],
    format: &str,
    bytes: &[u8],
    anchors: Option<&str>,
) -> Result<Credentials, CredentialsError> {
    let read = reader(anchors)?.with_manifest_data_and_stream(sidecar, format, Cursor::new(bytes));
    read.map(|reader| Credentials::of(&reader)).map_err(|error| damaged(&error))
}

/// What `c2pa` works by: no network, and these certificates are trusted.
pub(crate) fn context(anchors: Option<&str>) -> c2pa::Result<Context> {
    let mut settings = json!({
        "core": { "allowed_network_hosts": [], "decode_identity_assertions": false },
        "verify": { "remote_manifest_fetch": false, "ocsp_fetch": false },
    });
    if let Some(anchors) = anchors {
        settings["trust"] = json!({ "trust_anchors": anchors });
    }
    Context::new().with_settings(settings)
}

fn reader(anchors: Option<&str>) -> Result<Reader, CredentialsError> {
    if anchors.is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
        return Err(CredentialsError::Anchors);
    }
    context(anchors).map(Reader::from_context).map_err(|_| CredentialsError::Anchors)
}

fn damaged(error: &c2pa::Error) -> CredentialsError {
    match error {
        c2pa::Error::RemoteManifestUrl(address) => CredentialsError::Elsewhere { address: in_one_line(address) },
        error => CredentialsError::Damaged { reason: in_one_line(error) },
    }
}

impl Credentials {
    fn of(reader: &Reader) -> Self {
        let codes: BTreeSet<&str> =
            reader.validation_status().unwrap_or_default().iter().map(|status| status.code()).collect();
        let manifest = reader.active_manifest();
        let validity = match reader.validation_state() {
            // Nothing was read that could hold.
            _ if manifest.is_none() => Validity::Invalid,
            ValidationState::Trusted => Validity::Trusted,
            ValidationState::Valid => Validity::Valid,
            ValidationState::Invalid => Validity::Invalid,
        };
        Self {
            validity,
            reasons: codes.into_iter().map(str::to_owned).collect(),
            signed_by: manifest.and_then(signed_by),
            generator: manifest.and_then(generator),
            title: manifest.and_then(|manifest| manifest.title().map(str::to_owned)),
            actions: manifest.map(actions).unwrap_or_default(),
            generation: manifest.and_then(|manifest| manifest.find_assertion(GENERATION).ok()),
            ingredients: manifest.map(ingredients).unwrap_or_default(),
        }
    }
}

fn signed_by(manifest: &Manifest) -> Option<SignedBy> {
    let info = manifest.signature_info()?;
    Some(SignedBy {
        name: info.common_name.clone(),
        organisation: info.issuer.clone(),
        algorithm: info.alg.map(|algorithm| algorithm.to_string()),
        time: info.time.clone(),
    })
}

/// A program with its version, where that is known.
fn program(name: &str, version: Option<&str>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
}

fn generator(manifest: &Manifest) -> Option<String> {
    let infos = manifest.claim_generator_info.as_deref().unwrap_or_default();
    let first = infos.first().map(|info| program(&info.name, info.version.as_deref()));
    first.or_else(|| manifest.claim_generator().map(str::to_owned))
}

fn actions(manifest: &Manifest) -> Vec<StatedAction> {
    let all = manifest.assertions().iter().filter(|assertion| assertion.label().starts_with(Actions::LABEL));
    let all = all.filter_map(|assertion| assertion.to_assertion::<Actions>().ok());
    let made = |action: &c2pa::assertions::Action| StatedAction {
        action: action.action().to_owned(),
        time: action.when().map(str::to_owned),
        program: action.software_agent().map(|agent| match agent {
            SoftwareAgent::String(name) => name.clone(),
            SoftwareAgent::ClaimGeneratorInfo(info) => program(&info.name, info.version.as_deref()),
        }),
        source: action.source_type().and_then(|source| serde_json::to_value(source).ok()?.as_str().map(str::to_owned)),
    };
    all.flat_map(|actions| actions.actions().iter().map(made).collect::<Vec<_>>()).collect()
}

fn ingredients(manifest: &Manifest) -> Vec<StatedIngredient> {
    let relation = |ingredient: &c2pa::Ingredient| {
        let name = serde_json::to_value(ingredient.relationship()).ok();
        name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let all = manifest.ingredients().iter();
    let given = |ingredient: &c2pa::Ingredient| StatedIngredient {
        title: ingredient.title().unwrap_or_default().to_owned(),
        relation: relation(ingredient),
    };
    all.map(given).collect()
}
