//! JSON schemas as expressions.
//!
//! The expression has the texts that are written by the rules of the crate; each of them is valid under the schema. What
//! a schema says and is not kept is refused by name.

mod array;
mod disjoint;
mod keywords;
mod number;
mod object;
mod string;
mod value;

use crate::automaton::ByteAutomaton;
use crate::determine::determine;
use crate::error::{CompileError, Limit, TooLarge};
use crate::expression::Expression;
use crate::language;
use crate::tokens::TokenTree;
use aquatint_generate::TextConstraint;
use keywords::{Kind, Schema};
use serde_json::Value;
use std::cell::Cell;
use value::written;

/// Levels to which recursion, and values that may be anything, are unrolled.
const MOST_LEVELS: usize = 8;
/// States from which on one more level is not tried.
const MANY_STATES: usize = 2_000;

/// The constraint of a schema, with recursion unrolled as deep as the limits allow, and the bytes that it takes.
pub(crate) fn constraint(
    kind: &'static str,
    schema: &Value,
    tree: &TokenTree,
) -> Result<(TextConstraint, usize), CompileError> {
    language::constraint(kind, &automaton(kind, schema)?, tree)
}

/// The automaton over bytes of a schema.
pub(crate) fn automaton(kind: &'static str, schema: &Value) -> Result<ByteAutomaton, CompileError> {
    deepest(schema).map_err(|error| match error {
        Fault::TooLarge(limit) => CompileError::TooLarge { kind, limit },
        Fault::Refused { place, reason } => CompileError::Schema { place, reason },
    })
}

/// The automaton of a schema at the deepest level that is not too large.
fn deepest(schema: &Value) -> Result<ByteAutomaton, Fault> {
    let mut found: Option<ByteAutomaton> = None;
    for levels in 0..=MOST_LEVELS {
        let compilation = Compilation { root: schema, levels, parts: Cell::new(0), is_cut: Cell::new(false) };
        let expression = compilation.schema(&Place::root(), schema, &Path::default());
        let attempt =
            expression.and_then(|expression| determine(&expression).map_err(|TooLarge(limit)| Fault::TooLarge(limit)));
        match (attempt, found.take()) {
            (Err(Fault::TooLarge(_)), Some(before)) => return Ok(before),
            (Err(fault), _) => return Err(fault),
            (Ok(automaton), _) => {
                let is_last = levels == MOST_LEVELS || automaton.states() > MANY_STATES;
                if is_last || !compilation.is_cut.get() {
                    return Ok(automaton);
                }
                // A level that allows nothing may be one too few for the recursion to end.
                found = Some(automaton).filter(|automaton| !automaton.is_empty());
            }
        }
    }
    determine(&Expression::never()).map_err(|TooLarge(limit)| Fault::TooLarge(limit))
}

/// Why a schema is not compiled.
#[derive(Debug)]
pub(crate) enum Fault {
    TooLarge(Limit),
    Refused { place: String, reason: String },
}

/// A place in the schema, as a JSON pointer.
#[derive(Debug, Clone)]
struct Place(String);

impl Place {
    fn root() -> Self {
        Self("#".to_owned())
    }

    fn of(&self, part: &str) -> Self {
        Self(format!("{}/{}", self.0, part.replace('~', "~0").replace('/', "~1")))
    }

    fn refuse(&self, reason: impl Into<String>) -> Fault {
        Fault::Refused { place: self.0.clone(), reason: reason.into() }
    }
}

/// What leads to a place: the references that were followed, and how deep it is.
#[derive(Debug, Clone, Default)]
struct Path {
    references: Vec<String>,
    depth: usize,
}

impl Path {
    fn deeper(&self) -> Result<Self, Fault> {
        if self.depth >= Limit::Depth.most() {
            return Err(Fault::TooLarge(Limit::Depth));
        }
        Ok(Self { references: self.references.clone(), depth: self.depth + 1 })
    }
}

/// One attempt to compile a schema.
struct Compilation<'a> {
    root: &'a Value,
    /// Levels to which recursion is unrolled.
    levels: usize,
    parts: Cell<usize>,
    /// Whether recursion ended at the last level.
    is_cut: Cell<bool>,
}

impl Compilation<'_> {
    /// The texts that a schema allows.
    fn schema(&self, place: &Place, schema: &Value, path: &Path) -> Result<Expression, Fault> {
        self.parts.set(self.parts.get() + 1);
        if self.parts.get() > Limit::Parts.most() / 10 {
            return Err(Fault::TooLarge(Limit::Parts));
        }
        let path = &path.deeper()?;
        let map = match schema {
            Value::Bool(true) => return Ok(self.anything(self.levels)),
            Value::Bool(false) => return Ok(Expression::never()),
            Value::Object(map) => map,
            _ => return Err(place.refuse("a schema is an object, true or false")),
        };
        let schema = Schema::new(place, map)?;
        let expression = self.without_null(&schema, path)?;
        match schema.get("nullable") {
            None | Some(Value::Bool(false)) => Ok(expression),
            Some(Value::Bool(true)) => Ok(Expression::Either(vec![expression, Expression::text("null")])),
            Some(_) => Err(place.of("nullable").refuse("it is true or false")),
        }
    }

    fn without_null(&self, schema: &Schema<'_>, path: &Path) -> Result<Expression, Fault> {
        let place = schema.place;
        if let Some(reference) = schema.alone("$ref", &[])? {
            return self.reference(place, reference, path);
        }
        if let Some(constant) = schema.alone("const", &["type"])? {
            return Ok(if schema.has_type_of(constant)? { written(constant) } else { Expression::never() });
        }
        if let Some(values) = schema.alone("enum", &["type"])? {
            let Value::Array(values) = values else { return Err(place.of("enum").refuse("it is a list")) };
            let mut branches = Vec::new();
            for value in values {
                if schema.has_type_of(value)? {
                    branches.push(written(value));
                }
            }
            return Ok(Expression::Either(branches));
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let Some(list) = schema.alone(keyword, &[])? else { continue };
            let place = place.of(keyword);
            let parts = list.as_array().filter(|parts| !parts.is_empty());
            let parts = parts.ok_or_else(|| place.refuse("it is a list of at least one schema"))?;
            match keyword {
                "allOf" if parts.len() > 1 => {
                    return Err(place.refuse("more than one schema at once cannot be kept; write them as one"));
                }
                "oneOf" => self.check_disjoint(&place, parts)?,
                _ => {}
            }
            let part = |(index, part)| self.schema(&place.of(&format!("{index}")), part, path);
            return Ok(Expression::Either(parts.iter().enumerate().map(part).collect::<Result<_, _>>()?));
        }
        let kinds = schema.kinds()?;
        schema.check_keywords(&kinds)?;
        if kinds.is_empty() {
            return Ok(self.anything(self.levels));
        }
        let branch = |kind: &Kind| match kind {
            Kind::Null => Ok(Expression::text("null")),
            Kind::Boolean => Ok(boolean()),
            Kind::String => self.string(schema),
            Kind::Integer => number::integer(schema),
            Kind::Number => number::number(schema),
            Kind::Array => self.array(schema, path),
            Kind::Object => self.object(schema, path),
        };
        Ok(Expression::Either(kinds.iter().map(branch).collect::<Result<_, _>>()?))
    }

    /// What a reference leads to; nothing where it has led there as often as levels are unrolled.
    fn reference(&self, place: &Place, reference: &Value, path: &Path) -> Result<Expression, Fault> {
        let place = place.of("$ref");
        let target = reference.as_str().ok_or_else(|| place.refuse("it is a text"))?;
        let schema = self.resolve(target).ok_or_else(|| {
            place.refuse(format!("{target} is not a place in the schema; only `#` and `#/…` are followed"))
        })?;
        let before = path.references.iter().filter(|reference| *reference == target).count();
        if before > self.levels {
            self.is_cut.set(true);
            return Ok(Expression::never());
        }
        let mut path = path.clone();
        path.references.push(target.to_owned());
        self.schema(&Place(target.to_owned()), schema, &path)
    }

    /// The schema at a JSON pointer.
    fn resolve(&self, reference: &str) -> Option<&Value> {
        let pointer = reference.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    /// Any JSON value of so many levels.
    fn anything(&self, levels: usize) -> Expression {
        self.is_cut.set(true);
        let mut branches = vec![
            Expression::text("null"),
            boolean(),
            number::any(),
            string::quoted(crate::pattern::character_in_json().repeated(0, None)),
        ];
        if levels > 0 {
            branches.push(array::list(self.anything(levels - 1).separated(separator(), 0, None)));
            branches.push(object::map(string::any_key(), self.anything(levels - 1), 0, None));
        }
        Expression::Either(branches)
    }
}

fn boolean() -> Expression {
    Expression::Either(vec![Expression::text("true"), Expression::text("false")])
}

/// What stands between two values.
fn separator() -> Expression {
    Expression::All(vec![Expression::text(","), Expression::text(" ").optional()])
}

/// What stands between a key and its value.
fn colon() -> Expression {
    Expression::All(vec![Expression::text(":"), Expression::text(" ").optional()])
}
