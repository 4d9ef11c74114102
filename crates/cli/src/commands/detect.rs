//! `aquatint detect`: whether texts have the mark of a key, and what content credentials say.

use crate::arguments::{DetectArguments, ReportFormat};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::{credentials, model, watermark};
use aquatint::provenance::{Detection, Verdict};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// The p-value up to which a text is called marked where nothing is said.
const LEVEL: f64 = 1e-4;

/// A line of a file of texts; other fields are passed over.
#[derive(Deserialize)]
struct Row {
    text: String,
}

pub(crate) fn run(arguments: &DetectArguments, printer: &Printer) -> Result<(), Failure> {
    let DetectArguments { file, key, model: name, level, format, .. } = arguments;
    let Some(key) = key else { return credentials::detect(arguments, printer) };
    let level = level.unwrap_or(LEVEL);
    if !(level > 0.0 && level < 1.0) {
        return Err(Failure::new(format!("`level` is {level}; allowed: above 0 and below 1")));
    }
    let scheme = watermark::read(key)?.scheme();
    let texts = texts(file)?;
    let checkpoint = model::open(name.as_deref(), printer)?;
    for text in &texts {
        let detection = scheme.detect(&checkpoint.vocabulary.encode(text)?);
        match format {
            ReportFormat::Json => printer.data_line(json(&detection, level))?,
            ReportFormat::Human => printer.data_line(line(&detection, level))?,
        }
    }
    Ok(())
}

/// The texts of a file. One that is a whole file is without its last line end, as standard input is.
fn texts(file: &Path) -> Result<Vec<String>, Failure> {
    if file == Path::new("-") {
        return Ok(vec![super::generate::read_input()?]);
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::of_file("read", file, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Failure::of(&error)
            .context(format!("`{}` is no text in UTF-8", file.display()))
            .hint("convert it to UTF-8 first; of a picture or a sound there is no watermark; without `--key` its content credentials are read")
    })?;
    if file.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(vec![super::generate::without_line_end(text)]);
    }
    let row = |(number, line): (usize, &str)| match serde_json::from_str(line) {
        Ok(Row { text }) => Ok(text),
        Err(error) => Err(Failure::of(&error)
            .context(format!("line {} of `{}` has no text", number + 1, file.display()))
            .hint("each line is an object with the field `text`")),
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

fn json(detection: &Detection, level: f64) -> serde_json::Value {
    let Detection { scheme, p_value, tokens, counted, within } = detection;
    json!({
        "verdict": detection.verdict(level).to_string(),
        "p_value": p_value,
        "scheme": scheme,
        "tokens": tokens,
        "counted": counted,
        "within": [within.start, within.end],
    })
}

fn line(detection: &Detection, level: f64) -> String {
    let Detection { scheme, p_value, tokens, within, .. } = detection;
    let verdict = match detection.verdict(level) {
        Verdict::CannotTell => "cannot tell, the text is too short".to_owned(),
        verdict => verdict.to_string(),
    };
    let part = match within.len() == *tokens {
        true => String::new(),
        false => format!(", most so in tokens {} to {}", within.start + 1, within.end),
    };
    format!(
        "{verdict}: p = {p_value:.3e}, {} counted of {}, scheme {scheme}{part}",
        detection.counted,
        counted(*tokens as u64, "token")
    )
}
