//! Numbers between bounds: digit by digit, a bound is a regular language.
//!
//! Numbers are written without exponents, with at most 15 digits before the point and 6 behind it where no bound has
//! more, so that a reader that rounds them to f64 finds them on the same side of a bound.

use super::Fault;
use super::keywords::Schema;
use crate::automaton::{ByteAutomaton, DEAD};
use crate::expression::Expression;
use serde_json::{Number, Value};

/// Digits of an integer, and of the part of a number before the point.
const WHOLE_DIGITS: usize = 15;
/// Digits behind the point where no bound has more.
const FRACTION_DIGITS: usize = 6;
/// The largest divisor of `multipleOf`.
const MOST_DIVISOR: u64 = 1000;

/// Any number.
pub(super) fn any() -> Expression {
    Expression::All(vec![Expression::text("-").optional(), natural(), fraction(FRACTION_DIGITS).optional()])
}

/// Any natural number.
fn natural() -> Expression {
    let more = Expression::All(vec![digits(1, 9), digits(0, 9).repeated(0, Some(WHOLE_DIGITS - 1))]);
    Expression::Either(vec![Expression::text("0"), more])
}

fn fraction(most: usize) -> Expression {
    Expression::All(vec![Expression::text("."), digits(0, 9).repeated(1, Some(most))])
}

/// One digit; nothing where the first is behind the last.
fn digits(first: u8, last: u8) -> Expression {
    if first > last { Expression::never() } else { Expression::Byte(vec![(b'0' + first, b'0' + last)]) }
}

/// A bound of a schema.
#[derive(Debug, Clone, PartialEq)]
struct Bound {
    is_negative: bool,
    /// Digits before the point, without zeros in front but for a single one.
    whole: Vec<u8>,
    /// Digits behind it, without zeros at the end.
    fraction: Vec<u8>,
    /// Whether the bound itself is outside.
    is_strict: bool,
}

impl Bound {
    fn new(number: &Number, is_strict: bool) -> Option<Self> {
        // Rust writes every f64 without an exponent.
        let text = match (number.as_i64(), number.as_u64()) {
            (None, None) => number.as_f64()?.to_string(),
            _ => number.to_string(),
        };
        let magnitude = text.trim_start_matches('-');
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let value = |digits: &str| digits.bytes().map(|digit| digit - b'0').collect::<Vec<u8>>();
        let (whole, fraction) = (value(whole), value(fraction.trim_end_matches('0')));
        let is_zero = fraction.is_empty() && whole == [0];
        Some(Self { is_negative: text.starts_with('-') && !is_zero, whole, fraction, is_strict })
    }

    fn is_zero(&self) -> bool {
        self.fraction.is_empty() && self.whole == [0]
    }

    /// Digits behind the point that texts near the bound may have.
    fn fraction_digits(&self) -> usize {
        let exact = WHOLE_DIGITS.saturating_sub(self.whole.len());
        FRACTION_DIGITS.min(exact).max(self.fraction.len() + 1)
    }

    /// The magnitude rounded down, and what no integer here reaches where it is larger.
    fn floor(&self) -> i128 {
        if self.whole.len() > WHOLE_DIGITS {
            return 10_i128.pow(WHOLE_DIGITS as u32);
        }
        self.whole.iter().fold(0, |sum, digit| sum * 10 + i128::from(*digit))
    }

    /// The least integer that is not below.
    fn least(&self) -> i128 {
        let (floor, has_fraction) = (self.floor(), !self.fraction.is_empty());
        match (self.is_negative, has_fraction) {
            (true, true) => -floor,
            (true, false) => -floor + i128::from(self.is_strict),
            (false, true) => floor + 1,
            (false, false) => floor + i128::from(self.is_strict),
        }
    }

    /// The largest integer that is not above.
    fn most(&self) -> i128 {
        -Self { is_negative: !self.is_negative, ..self.clone() }.least()
    }

    /// Magnitudes that are not below that of the bound.
    fn magnitudes_from(&self) -> Expression {
        let most = self.fraction_digits();
        let whole = self.floor();
        let beyond = naturals(whole + 1, largest());
        let beyond = Expression::All(vec![beyond, fraction(most).optional()]);
        let mut here = Vec::new();
        match (self.fraction.is_empty(), self.is_strict) {
            (true, false) => here.push(fraction(most).optional()),
            (true, true) => here.push(Expression::All(vec![Expression::text("."), above_zero(most)])),
            (false, _) => {
                for (index, digit) in self.fraction.iter().enumerate() {
                    let larger = digits(digit + 1, 9);
                    here.push(self.behind_prefix(index, vec![larger, up_to(most - index - 1)]));
                }
                let left = most - self.fraction.len();
                let behind = if self.is_strict { above_zero(left) } else { up_to(left) };
                here.push(self.behind_prefix(self.fraction.len(), vec![behind]));
            }
        }
        let here = Expression::All(vec![naturals(whole, whole), Expression::Either(here)]);
        Expression::Either(vec![beyond, here])
    }

    /// Magnitudes that are not above that of the bound.
    fn magnitudes_to(&self) -> Expression {
        let most = self.fraction_digits();
        let whole = self.floor();
        let below = Expression::All(vec![naturals(0, whole - 1), fraction(most).optional()]);
        let mut here = Vec::new();
        let zeros = |most| digits(0, 0).repeated(0, Some(most));
        if self.fraction.is_empty() {
            if !self.is_strict {
                here.push(Expression::All(vec![Expression::text("."), digits(0, 0), zeros(most - 1)]).optional());
            }
        } else {
            here.push(Expression::empty());
            for (index, digit) in self.fraction.iter().enumerate() {
                if let Some(smaller) = digit.checked_sub(1) {
                    here.push(self.behind_prefix(index, vec![digits(0, smaller), up_to(most - index - 1)]));
                }
                if index > 0 {
                    here.push(self.behind_prefix(index, Vec::new()));
                }
            }
            if !self.is_strict {
                here.push(self.behind_prefix(self.fraction.len(), vec![zeros(most - self.fraction.len())]));
            }
        }
        let here = Expression::All(vec![naturals(whole, whole), Expression::Either(here)]);
        Expression::Either(vec![below, here])
    }

    /// A point, the first digits of the fraction, and what follows.
    fn behind_prefix(&self, digits: usize, behind: Vec<Expression>) -> Expression {
        let prefix: Vec<u8> = self.fraction[..digits].iter().map(|digit| b'0' + digit).collect();
        let mut all = vec![Expression::text("."), Expression::Bytes(prefix)];
        all.extend(behind);
        Expression::All(all)
    }

    /// Numbers that are not below.
    fn numbers_from(&self) -> Expression {
        if !self.is_negative {
            return self.magnitudes_from();
        }
        let most = fraction(self.fraction_digits()).optional();
        let positive = Expression::All(vec![natural(), most]);
        Expression::Either(vec![positive, Expression::All(vec![Expression::text("-"), self.magnitudes_to()])])
    }

    /// Numbers that are not above.
    fn numbers_to(&self) -> Expression {
        let minus = |magnitudes| Expression::All(vec![Expression::text("-"), magnitudes]);
        if self.is_negative || self.is_zero() && self.is_strict {
            return minus(self.magnitudes_from());
        }
        let most = fraction(self.fraction_digits()).optional();
        Expression::Either(vec![minus(Expression::All(vec![natural(), most])), self.magnitudes_to()])
    }
}

/// At most so many digits.
fn up_to(most: usize) -> Expression {
    digits(0, 9).repeated(0, Some(most))
}

/// At most so many digits of which one is not 0.
fn above_zero(most: usize) -> Expression {
    let branch = |zeros: usize| {
        let zeros_text = digits(0, 0).repeated(zeros, Some(zeros));
        Expression::All(vec![zeros_text, digits(1, 9), up_to(most - zeros - 1)])
    };
    Expression::Either((0..most).map(branch).collect())
}

fn largest() -> i128 {
    10_i128.pow(WHOLE_DIGITS as u32) - 1
}

/// The natural numbers between two, ends included.
fn naturals(least: i128, most: i128) -> Expression {
    let (least, most) = (least.max(0), most.min(largest()));
    if least > most {
        return Expression::never();
    }
    let text = |number: i128| number.to_string().bytes().map(|digit| digit - b'0').collect::<Vec<u8>>();
    let of_length = |length: usize| {
        let first = if length == 1 { 0 } else { 10_i128.pow(length as u32 - 1) };
        let last = 10_i128.pow(length as u32) - 1;
        between(&text(least.max(first)), &text(most.min(last)))
    };
    Expression::Either((text(least).len()..=text(most).len()).map(of_length).collect())
}

/// Digits between two rows of the same length.
fn between(least: &[u8], most: &[u8]) -> Expression {
    if least.iter().all(|digit| *digit == 0) && most.iter().all(|digit| *digit == 9) {
        return digits(0, 9).repeated(least.len(), Some(least.len()));
    }
    let ([first, least @ ..], [last, most @ ..]) = (least, most) else { return Expression::empty() };
    if first == last {
        return Expression::All(vec![digits(*first, *first), between(least, most)]);
    }
    let count = least.len();
    let nines = vec![9; count];
    let zeros = vec![0; count];
    let mut branches = vec![
        Expression::All(vec![digits(*first, *first), between(least, &nines)]),
        Expression::All(vec![digits(*last, *last), between(&zeros, most)]),
    ];
    if first + 1 < *last {
        branches.push(Expression::All(vec![digits(first + 1, last - 1), digits(0, 9).repeated(count, Some(count))]));
    }
    Expression::Either(branches)
}

/// The bounds of a schema: those below, and those above.
fn bounds(schema: &Schema<'_>) -> Result<(Vec<Bound>, Vec<Bound>), Fault> {
    let bound = |keyword: &str, is_strict| -> Result<Option<Bound>, Fault> {
        let refuse = |value: &Value| schema.place.of(keyword).refuse(format!("{value} is not a number"));
        match schema.get(keyword) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Bound::new(number, is_strict)),
            Some(value) => Err(refuse(value)),
        }
    };
    let both = |inclusive, strict| -> Result<Vec<Bound>, Fault> {
        Ok([bound(inclusive, false)?, bound(strict, true)?].into_iter().flatten().collect())
    };
    Ok((both("minimum", "exclusiveMinimum")?, both("maximum", "exclusiveMaximum")?))
}

/// Integers.
pub(super) fn integer(schema: &Schema<'_>) -> Result<Expression, Fault> {
    let (below, above) = bounds(schema)?;
    let least = below.iter().map(Bound::least).max().unwrap_or(-largest());
    let most = above.iter().map(Bound::most).min().unwrap_or_else(largest);
    let negative = Expression::All(vec![Expression::text("-"), naturals((-most).max(1), -least)]);
    let range = Expression::Either(vec![negative, naturals(least, most)]);
    let Some(value) = schema.get("multipleOf") else { return Ok(range) };
    let divisor = value.as_f64().filter(|divisor| divisor.fract() == 0.0 && *divisor >= 1.0);
    match divisor.map(|divisor| divisor as u64).filter(|divisor| *divisor <= MOST_DIVISOR) {
        Some(1) => Ok(range),
        Some(divisor) => Ok(Expression::Both(vec![range, Expression::Automaton(multiples(divisor as u32).into())])),
        None => {
            Err(schema.place.of("multipleOf").refuse(format!("{value} is not a whole number from 1 to {MOST_DIVISOR}")))
        }
    }
}

/// Numbers.
pub(super) fn number(schema: &Schema<'_>) -> Result<Expression, Fault> {
    if schema.get("multipleOf").is_some() {
        return Err(schema.place.of("multipleOf").refuse("it is kept for the type integer only"));
    }
    let (below, above) = bounds(schema)?;
    let mut all: Vec<Expression> = below.iter().map(Bound::numbers_from).collect();
    all.extend(above.iter().map(Bound::numbers_to));
    Ok(match all.len() {
        0 => any(),
        _ => Expression::Both(all),
    })
}

/// The multiples of a number, by their remainders.
fn multiples(divisor: u32) -> ByteAutomaton {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => u16::from(byte - b'0') + 1,
        b'-' => 11,
        _ => 0,
    };
    // States: the start, behind a sign, and each remainder.
    let row = |state: u32| {
        let remainder = state.saturating_sub(2);
        let digit = move |digit: u32| 2 + (remainder * 10 + digit) % divisor;
        let sign = if state == 0 { 1 } else { DEAD };
        std::iter::once(DEAD).chain((0..10).map(digit)).chain([sign]).collect::<Vec<u32>>()
    };
    let table = (0..divisor + 2).flat_map(row).collect();
    let accepting = (0..divisor + 2).map(|state| state == 2).collect();
    ByteAutomaton::new((0..=u8::MAX).map(class).collect(), 12, table, accepting, 0)
}
