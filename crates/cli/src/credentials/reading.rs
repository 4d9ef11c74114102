//! `aquatint detect FILE` without a key: what the content credentials of a file say.

use super::refused;
use crate::arguments::{DetectArguments, ReportFormat};
use crate::failure::Failure;
use crate::files_out::{SIDECAR, sidecar_of};
use crate::printer::Printer;
use aquatint_credentials::{Credentials, CredentialsError, Validity, read, read_sidecar};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// Prints what the content credentials of a file say.
pub(crate) fn detect(arguments: &DetectArguments, printer: &Printer) -> Result<(), Failure> {
    let file = &arguments.file;
    if file == Path::new("-") {
        return Err(Failure::new("`FILE` is -; allowed: with --key, or the name of a file")
            .hint("content credentials stand in a file or beside it"));
    }
    if is_sidecar(file) {
        return Err(Failure::new(format!("`{}` has the content credentials of another file", file.display()))
            .hint("name the file that they are of; `--sidecar` names them where they have another name"));
    }
    let found = find(arguments)?;
    let beside = sidecar_of(file);
    match (arguments.format, &found) {
        (ReportFormat::Json, Found::Credentials(credentials)) => {
            printer.data_line(json!({ "credentials": credentials }))
        }
        (ReportFormat::Json, Found::OfAnother(title)) => {
            printer.data_line(json!({ "credentials": null, "beside": { "file": beside, "title": title } }))
        }
        (ReportFormat::Json, Found::Nothing) => printer.data_line(json!({ "credentials": null })),
        (ReportFormat::Human, Found::Credentials(credentials)) => printer.text(&described(credentials)),
        (ReportFormat::Human, Found::OfAnother(title)) => printer.text(&format!(
            "no content credentials in `{}`; those in `{}` are of another file, `{title}`",
            file.display(),
            beside.display()
        )),
        (ReportFormat::Human, Found::Nothing) => printer.text(&format!(
            "no content credentials in `{}`, nor beside it in `{}`",
            file.display(),
            beside.display()
        )),
    }
}

/// The credentials of a file, those in it first.
fn find(arguments: &DetectArguments) -> Result<Found, Failure> {
    let DetectArguments { file, sidecar, trust_anchors, .. } = arguments;
    let read_file = |path: &Path| std::fs::read(path).map_err(|error| Failure::of_file("read", path, &error));
    let anchors = trust_anchors.as_deref().map(read_file).transpose()?;
    let anchors = anchors.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let anchors = anchors.as_deref();
    let bytes = read_file(file)?;
    let format = file.extension().map_or_else(|| "txt".into(), |ending| ending.to_string_lossy().to_lowercase());
    let refused_by = |path: &Path| {
        let anchors = trust_anchors.clone().unwrap_or_default();
        let path = path.to_path_buf();
        move |error| match error {
            error @ CredentialsError::Anchors => refused(&anchors, &error),
            error => refused(&path, &error),
        }
    };
    let beside = sidecar_of(file);
    let place = sidecar.as_ref().or_else(|| beside.exists().then_some(&beside));
    if sidecar.is_none() {
        match read(&format, &bytes, anchors) {
            Ok(Some(credentials)) => return Ok(Found::Credentials(Box::new(credentials))),
            Ok(None) => {}
            // What says where its credentials are may have them here, too; so may what is not of its format.
            Err(CredentialsError::Elsewhere { .. } | CredentialsError::Container { .. }) if place.is_some() => {}
            Err(error) => return Err(refused_by(file)(error)),
        }
    }
    let Some(place) = place else { return Ok(Found::Nothing) };
    let credentials = read_sidecar(&read_file(place)?, &format, &bytes, anchors).map_err(refused_by(place))?;
    // Files of one name that end otherwise have one name for their sidecars.
    let name = file.file_name().map(|name| name.to_string_lossy());
    let is_of_another =
        sidecar.is_none() && credentials.title.as_deref().is_some_and(|title| Some(title) != name.as_deref());
    Ok(match (is_of_another, credentials.validity) {
        (true, Validity::Invalid) => Found::OfAnother(in_one_line(&credentials.title.unwrap_or_default())),
        _ => Found::Credentials(Box::new(credentials)),
    })
}

/// What there is for a file.
enum Found {
    Nothing,
    /// Beside it those of another file, of this name, which do not fit it.
    OfAnother(String),
    Credentials(Box<Credentials>),
}

/// What stands in credentials, which anybody may have written.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_sidecar(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(SIDECAR))
}

/// What credentials say, a line for each thing.
fn described(credentials: &Credentials) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(lines, "{name:<12}{}", in_one_line(&value));
    };
    let codes = credentials.reasons.join(", ");
    line(
        "credentials",
        match credentials.validity {
            Validity::Trusted => "trusted: somebody on the list vouches for the signer".to_owned(),
            Validity::Valid => format!("valid, by a signer for whom nobody vouches here ({codes})"),
            Validity::Invalid => format!("invalid: the file or they are not as they were signed ({codes})"),
        },
    );
    if let Some(signed_by) = &credentials.signed_by {
        let parts = [&signed_by.name, &signed_by.organisation, &signed_by.algorithm, &signed_by.time];
        line("signed by", parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(", "));
    }
    for (name, value) in [("program", &credentials.generator), ("title", &credentials.title)] {
        if let Some(value) = value {
            line(name, value.clone());
        }
    }
    for made in &credentials.actions {
        let source = made.source.as_deref().map(|source| source.rsplit('/').next().unwrap_or(source).to_owned());
        let time = made.time.as_ref().map(|time| format!("{time} by the signer's clock"));
        let parts = [Some(made.action.clone()), source, time];
        line("action", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    if let Some(generation) = &credentials.generation {
        for (name, value) in
            [("model", &generation["model"]["name"]), ("seed", &generation["seed"]), ("prompt", &generation["prompt"])]
        {
            match value {
                Value::Null => {}
                Value::String(value) => line(name, value.clone()),
                value => line(name, value.to_string()),
            }
        }
    }
    for given in &credentials.ingredients {
        line("given", format!("{} ({})", given.title, given.relation));
    }
    lines.truncate(lines.trim_end().len());
    lines
}
