//! Arrays.

use super::keywords::Schema;
use super::{Compilation, Fault, Path, separator};
use crate::expression::Expression;
use serde_json::Value;

/// An array of some content.
pub(super) fn list(content: Expression) -> Expression {
    Expression::All(vec![Expression::text("["), content, Expression::text("]")])
}

impl Compilation<'_> {
    pub(super) fn array(&self, schema: &Schema<'_>, path: &Path) -> Result<Expression, Fault> {
        let (least, most) = schema.counts("minItems", "maxItems")?;
        if most.is_some_and(|most| most < least) {
            return Ok(Expression::never());
        }
        let place = schema.place.of("items");
        let first = match schema.get("prefixItems") {
            None => &[][..],
            Some(Value::Array(first)) => first,
            Some(_) => return Err(schema.place.of("prefixItems").refuse("it is a list of schemas")),
        };
        let rest = match schema.get("items") {
            Some(Value::Array(_)) => return Err(place.refuse("a list of schemas is written as `prefixItems`")),
            Some(Value::Bool(false)) => None,
            Some(items) => Some(self.schema(&place, items, path)?),
            // Behind the first ones none is written that need not be.
            None if first.is_empty() || least > first.len() => Some(self.anything(self.levels)),
            None => None,
        };
        let length = first.len().min(most.unwrap_or(usize::MAX));
        if rest.is_none() && least > first.len() {
            return Ok(Expression::never());
        }
        // From the last of the first ones to the first: what may follow so many items.
        let most_left = most.map(|most| most - length);
        let least_left = least.saturating_sub(first.len());
        let mut tail = match rest.filter(|_| length == first.len()) {
            Some(rest) if length == 0 => return Ok(list(rest.separated(separator(), least, most))),
            Some(rest) => {
                let more = rest.separated(separator(), least_left.max(1), most_left.map(|most| most.max(1)));
                let more = Expression::All(vec![separator(), more]);
                match (least_left, most_left) {
                    (_, Some(0)) => Expression::empty(),
                    (0, _) => more.optional(),
                    _ => more,
                }
            }
            None => Expression::empty(),
        };
        let place = schema.place.of("prefixItems");
        for index in (0..length).rev() {
            let item = self.schema(&place.of(&format!("{index}")), &first[index], path)?;
            let before = if index == 0 { Expression::empty() } else { separator() };
            tail = Expression::All(vec![before, item, tail]);
            if least <= index {
                tail = tail.optional();
            }
        }
        Ok(list(tail))
    }
}
