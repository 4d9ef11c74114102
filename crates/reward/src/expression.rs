//! Arithmetic on whole numbers with `+ - * / ( )`, exactly: values are fractions.

/// So many levels of brackets and signs are read.
const DEPTH: usize = 64;

/// A fraction in lowest terms with a positive denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fraction {
    numerator: i128,
    denominator: i128,
}

/// What a text of arithmetic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression {
    /// Its value; `None` where it divides by zero or its numbers are too large.
    pub(crate) value: Option<Fraction>,
    /// The whole numbers that it is made of, in order.
    pub(crate) numbers: Vec<i64>,
}

impl Fraction {
    pub(crate) fn whole(value: i64) -> Self {
        Self { numerator: value.into(), denominator: 1 }
    }

    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
        while b > 0 {
            (a, b) = (b, a % b);
        }
        let common = i128::try_from(a).ok()?.checked_mul(denominator.signum())?;
        // −2¹²⁷ divided by −1 is no i128.
        Some(Self { numerator: numerator.checked_div(common)?, denominator: denominator.checked_div(common)? })
    }

    fn combine(self, operator: u8, other: Self) -> Option<Self> {
        let (a, b, c, d) = (self.numerator, self.denominator, other.numerator, other.denominator);
        match operator {
            b'+' => Self::new(a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?, b.checked_mul(d)?),
            b'-' => Self::new(a.checked_mul(d)?.checked_sub(c.checked_mul(b)?)?, b.checked_mul(d)?),
            b'*' => Self::new(a.checked_mul(c)?, b.checked_mul(d)?),
            _ => Self::new(a.checked_mul(d)?, b.checked_mul(c)?),
        }
    }
}

/// Reads a whole text as an expression; `None` where it is none.
pub(crate) fn read(text: &str) -> Option<Expression> {
    let mut reader = Reader { rest: text.as_bytes(), numbers: Vec::new() };
    let value = reader.sum(DEPTH)?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(Expression { value, numbers: reader.numbers })
}

struct Reader<'a> {
    rest: &'a [u8],
    numbers: Vec<i64>,
}

/// A value that was read: `Some(None)` is an expression without a value.
type Read = Option<Option<Fraction>>;

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn next_if(&mut self, allowed: &[u8]) -> Option<u8> {
        self.skip_blanks();
        let first = *self.rest.first().filter(|first| allowed.contains(first))?;
        self.rest = &self.rest[1..];
        Some(first)
    }

    fn sum(&mut self, depth: usize) -> Read {
        let mut value = self.product(depth)?;
        while let Some(operator) = self.next_if(b"+-") {
            let other = self.product(depth)?;
            value = value.zip(other).and_then(|(value, other)| value.combine(operator, other));
        }
        Some(value)
    }

    fn product(&mut self, depth: usize) -> Read {
        let mut value = self.signed(depth)?;
        while let Some(operator) = self.next_if(b"*/") {
            let other = self.signed(depth)?;
            value = value.zip(other).and_then(|(value, other)| value.combine(operator, other));
        }
        Some(value)
    }

    fn signed(&mut self, depth: usize) -> Read {
        let depth = depth.checked_sub(1)?;
        if self.next_if(b"-").is_some() {
            let value = self.signed(depth)?;
            return Some(value.and_then(|value| Fraction::whole(0).combine(b'-', value)));
        }
        if self.next_if(b"(").is_some() {
            let value = self.sum(depth)?;
            return self.next_if(b")").map(|_| value);
        }
        self.number()
    }

    fn number(&mut self) -> Read {
        self.skip_blanks();
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        let value: i64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        self.rest = rest;
        self.numbers.push(value);
        Some(Some(Fraction::whole(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<(i128, i128)> {
        read(text)?.value.map(|value| (value.numerator, value.denominator))
    }

    #[test]
    fn values_are_exact_and_follow_the_usual_order() {
        assert_eq!(value("1 + 2 * 3"), Some((7, 1)));
        assert_eq!(value("(1 + 2) * 3 - -4"), Some((13, 1)));
        assert_eq!(value("1 / 3 + 1 / 6"), Some((1, 2)));
        assert_eq!(value("8 / 2 / 2"), Some((2, 1)));
        assert_eq!(value("10 - 4 - 3"), Some((3, 1)));
        assert_eq!(read("3*(4+5)").unwrap().numbers, [3, 4, 5]);
    }

    #[test]
    fn what_has_no_value_is_read_and_what_is_no_expression_is_not() {
        for without in [
            "1 / 0",
            "1 / (2 - 2)",
            "9223372036854775807 * 9223372036854775807 * 9223372036854775807",
            "1/(-4611686018427387904*4611686018427387904*8)",
            "-4611686018427387904*4611686018427387904*8/-1",
        ] {
            assert_eq!(read(without).map(|expression| expression.value), Some(None), "{without}");
        }
        let deep = "(".repeat(100_000);
        for none in ["", "1 +", "(1", "1)", "1 2", "x", "2 ^ 3", "99999999999999999999", deep.as_str()] {
            assert_eq!(read(none), None, "{}", &none[..none.len().min(20)]);
        }
    }
}
