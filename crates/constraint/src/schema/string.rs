//! Strings: length, pattern and format.

use super::keywords::Schema;
use super::{Compilation, Fault};
use crate::expression::Expression;
use crate::pattern;

/// Texts of a format that are valid under every reading of it; by far not all of them.
const FORMATS: [(&str, &str); 12] = [
    ("date", DATE),
    ("time", TIME),
    ("date-time", ""),
    ("duration", "P[1-9][0-9]{0,3}D"),
    ("uuid", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ("ipv4", "(BYTE)([.](BYTE)){3}"),
    ("ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"),
    ("email", "[a-z0-9]{1,20}([._][a-z0-9]{1,20}){0,2}@HOST"),
    ("hostname", "HOST"),
    ("uri", "https?://HOST(/[A-Za-z0-9_~.-]{1,40}){0,8}"),
    ("byte", "([A-Za-z0-9+/]{4})*"),
    ("regex", "[A-Za-z0-9 ]*"),
];
/// Days that every year has.
const DATE: &str =
    "(19|20)[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
const BYTE: &str = "25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]";
const HOST: &str = "([a-z0-9]{1,20}(-[a-z0-9]{1,20}){0,2}[.]){1,3}[a-z]{2,6}";

/// A string of some content.
pub(super) fn quoted(content: Expression) -> Expression {
    Expression::All(vec![Expression::text("\""), content, Expression::text("\"")])
}

/// Any key of an object.
pub(super) fn any_key() -> Expression {
    quoted(pattern::character_in_json().repeated(0, None))
}

impl Compilation<'_> {
    pub(super) fn string(&self, schema: &Schema<'_>) -> Result<Expression, Fault> {
        let (least, most) = schema.counts("minLength", "maxLength")?;
        let mut all = Vec::new();
        if let Some(value) = schema.get("pattern") {
            let place = schema.place.of("pattern");
            let source = value.as_str().ok_or_else(|| place.refuse("it is a text"))?;
            all.push(pattern::found(source).map_err(|reason| place.refuse(format!("`{source}`: {reason}")))?);
        }
        if let Some(value) = schema.get("format") {
            let place = schema.place.of("format");
            let known = FORMATS.iter().find(|(name, _)| value.as_str() == Some(name));
            let (name, source) = known.ok_or_else(|| {
                let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
                place.refuse(format!("{value} is not supported; formats are {}", names.join(", ")))
            })?;
            let source = if *name == "date-time" { format!("{DATE}T{TIME}") } else { (*source).to_owned() };
            let source = source.replace("BYTE", BYTE).replace("HOST", HOST);
            all.push(pattern::whole_in_json(&source).map_err(|reason| place.refuse(reason))?);
        }
        if most.is_some_and(|most| most < least) {
            return Ok(Expression::never());
        }
        if all.is_empty() || least > 0 || most.is_some() {
            all.push(pattern::character_in_json().repeated(least, most));
        }
        Ok(quoted(match all.pop() {
            Some(only) if all.is_empty() => only,
            last => Expression::Both(all.into_iter().chain(last).collect()),
        }))
    }
}
