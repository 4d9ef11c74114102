//! `aquatint detect FILE` without a key: what the content credentials of a file say.

use super::refused;
use crate::arguments::{DetectArguments, ReportFormat};
use crate::failure::Failure;
use crate::files_out::SIDECAR;
use crate::printer::Printer;
use aquatint_credentials::{Credentials, CredentialsError, Validity, read, read_sidecar};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

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
    let credentials = find(arguments)?;
    match (arguments.format, credentials) {
        (ReportFormat::Json, credentials) => printer.data_line(json!({ "credentials": credentials })),
        (ReportFormat::Human, Some(credentials)) => printer.text(&described(&credentials)),
        (ReportFormat::Human, None) => printer.text(&format!(
            "no content credentials in `{}`, nor beside it in `{}`",
            file.display(),
            beside(file).display()
        )),
    }
}

/// The credentials of a file, those in it first.
fn find(arguments: &DetectArguments) -> Result<Option<Credentials>, Failure> {
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
    if sidecar.is_none()
        && let Some(credentials) = read(&format, &bytes, anchors).map_err(refused_by(file))?
    {
        return Ok(Some(credentials));
    }
    let place = sidecar.clone().unwrap_or_else(|| beside(file));
    if sidecar.is_none() && !place.exists() {
        return Ok(None);
    }
    read_sidecar(&read_file(&place)?, &format, &bytes, anchors).map(Some).map_err(refused_by(&place))
}

/// Where the credentials of a file stand that are not in it.
fn beside(file: &Path) -> PathBuf {
    file.with_extension(SIDECAR)
}

fn is_sidecar(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(SIDECAR))
}

/// What credentials say, a line for each thing.
fn described(credentials: &Credentials) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        // Anybody may have written it.
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(lines, "{name:<12}{value}");
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
