//! `aquatint watermark-key`: a new secret key.

use crate::arguments::WatermarkKeyArguments;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::watermark;
use aquatint::provenance::{SchemeKind, WatermarkKey};

pub(crate) fn run(arguments: &WatermarkKeyArguments, printer: &Printer) -> Result<(), Failure> {
    let key = WatermarkKey::random(scheme(arguments)?).map_err(|error| Failure::of(&error))?;
    watermark::write(&arguments.file, &key)?;
    printer.note(format_args!("{}; keep it secret: who has it can find the mark, and copy it", key.kind()));
    printer.data_line(arguments.file.display())
}

/// The scheme with its settings; those of other schemes are refused.
fn scheme(arguments: &WatermarkKeyArguments) -> Result<SchemeKind, Failure> {
    let WatermarkKeyArguments { period, share, strength, width, .. } = *arguments;
    let usual: SchemeKind = arguments.scheme.parse().map_err(|error| Failure::of(&error))?;
    let (scheme, foreign) = match usual {
        SchemeKind::Gumbel { period: usual } => (
            SchemeKind::Gumbel { period: period.unwrap_or(usual) },
            [("share", share.is_some()), ("strength", strength.is_some()), ("width", width.is_some())],
        ),
        SchemeKind::Green { share: usual, strength: usually } => (
            SchemeKind::Green { share: share.unwrap_or(usual), strength: strength.unwrap_or(usually) },
            [("period", period.is_some()), ("width", width.is_some()), ("", false)],
        ),
        SchemeKind::Order { share: usual, width: usually } => (
            SchemeKind::Order { share: share.unwrap_or(usual), width: width.unwrap_or(usually) },
            [("period", period.is_some()), ("strength", strength.is_some()), ("", false)],
        ),
    };
    match foreign.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(Failure::new(format!("`--{flag}` is not for the scheme {}", scheme.name()))
            .hint("`aquatint watermark-key --help` says which scheme has which")),
        None => Ok(scheme),
    }
}
