//! Which parameters learn, and how fast: groups of them, chosen by name or role.

use crate::{ParameterInfo, Role};
use aquatint_compute::WeightFormat;
use std::fmt;
use std::str::FromStr;

/// Chooses parameters: by name, where `*` stands for any run of characters (`model.layers.*.self_attn.*`), or by role
/// (`role:embedding`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterPattern(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    Role(Role),
}

/// A role that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no role of parameters; allowed: {}", allowed())]
pub struct RoleError {
    /// What was asked for.
    given: String,
}

/// What stands before the name of a role.
const ROLE: &str = "role:";

/// The roles by name.
const ROLES: [(&str, Role); 7] = [
    ("matrix", Role::Matrix),
    ("router", Role::Router),
    ("embedding", Role::Embedding),
    ("unit-vectors", Role::UnitVectors),
    ("head", Role::Head),
    ("vector", Role::Vector),
    ("adapter", Role::Adapter),
];

fn allowed() -> String {
    ROLES.map(|(name, _)| format!("{ROLE}{name}")).join(", ")
}

impl ParameterPattern {
    /// All parameters of a role.
    pub fn of_role(role: Role) -> Self {
        Self(Pattern::Role(role))
    }

    /// Whether a parameter of this name and role is among those chosen.
    pub fn matches(&self, name: &str, role: Role) -> bool {
        match &self.0 {
            Pattern::Name(pattern) => matches(pattern.as_bytes(), name.as_bytes()),
            Pattern::Role(chosen) => *chosen == role,
        }
    }
}

impl FromStr for ParameterPattern {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let Some(given) = text.strip_prefix(ROLE) else { return Ok(Self(Pattern::Name(text.to_owned()))) };
        let role = ROLES.iter().find(|(name, _)| *name == given).map(|(_, role)| *role);
        role.map(Self::of_role).ok_or_else(|| RoleError { given: text.to_owned() })
    }
}

impl fmt::Display for ParameterPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Name(pattern) => f.write_str(pattern),
            Pattern::Role(role) => {
                let name = ROLES.iter().find(|(_, known)| known == role).map_or("", |(name, _)| name);
                write!(f, "{ROLE}{name}")
            }
        }
    }
}

/// Whether a pattern with `*` covers the whole of a name: after a mismatch, the last `*` takes one character more.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut done, mut retry) = (0, 0, None);
    while done < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, done));
                at += 1;
            }
            Some(byte) if *byte == name[done] => (at, done) = (at + 1, done + 1),
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (at, done) = (star + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How some parameters learn.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGroup {
    /// Which.
    pub parameters: ParameterPattern,
    /// Whether they learn at all. Others keep their values to the bit, and have no gradient.
    pub trainable: bool,
    /// Factor of the learning rate.
    pub learning_rate_factor: f64,
    /// In which numbers the matrices of products among them are kept, and in these only; nothing is the device's own
    /// f32. Only what does not learn can be kept so. Word vectors, norms and biases stay f32.
    pub precision: Option<WeightFormat>,
}

/// The same parameters as they learn: each by the first group that chooses it. Also how many each group got.
pub(crate) fn assign(
    groups: &[ParameterGroup],
    parameters: impl Iterator<Item = ParameterInfo>,
) -> (Vec<ParameterInfo>, Vec<usize>) {
    let mut counts = vec![0; groups.len()];
    let assigned = parameters.map(|parameter| {
        let chosen = groups.iter().position(|group| group.parameters.matches(&parameter.name, parameter.role));
        let Some(index) = chosen else { return parameter };
        counts[index] += 1;
        let ParameterGroup { trainable, learning_rate_factor, precision, .. } = groups[index];
        ParameterInfo { trainable, learning_rate_factor, precision, ..parameter }
    });
    (assigned.collect(), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        let covers = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        assert!(covers("model.layers.*.q_proj.weight", "model.layers.12.self_attn.q_proj.weight"));
        assert!(covers("*", "") && covers("**a*", "ba") && covers("a*b*c", "a.b.b.c") && covers("ab", "ab"));
        assert!(!covers("a*b", "ab.") && !covers("a", "ab") && !covers("", "a") && !covers("*.bias", "q.weight"));
    }

    #[test]
    fn patterns_are_read_back_and_unknown_roles_are_refused() {
        for text in ["role:unit-vectors", "role:matrix", "model.*", "lm_head.weight"] {
            assert_eq!(text.parse::<ParameterPattern>().unwrap().to_string(), text);
        }
        assert_eq!(
            "role:heads".parse::<ParameterPattern>().unwrap_err().to_string(),
            "`role:heads` is no role of parameters; allowed: role:matrix, role:router, role:embedding, role:unit-vectors, role:head, \
             role:vector, role:adapter"
        );
    }

    #[test]
    fn the_first_group_that_chooses_a_parameter_has_it() {
        let group = |text: &str, trainable, learning_rate_factor| ParameterGroup {
            parameters: text.parse().unwrap(),
            trainable,
            learning_rate_factor,
            precision: None,
        };
        let groups = [group("*.q.*", true, 0.5), group("role:matrix", false, 1.0), group("*.q.weight", true, 9.0)];
        let parameters = [("a.q.weight", Role::Matrix), ("a.k.weight", Role::Matrix), ("norm", Role::Vector)];
        let of = |index: usize, trainable, learning_rate_factor| {
            let (name, role): (&str, Role) = parameters[index];
            let (name, shape) = (name.to_owned(), vec![2, 3]);
            ParameterInfo { name, shape, role, trainable, learning_rate_factor, precision: None }
        };
        let (assigned, counts) = assign(&groups, (0..3).map(|index| of(index, true, 1.0)));
        assert_eq!(assigned, [of(0, true, 0.5), of(1, false, 1.0), of(2, true, 1.0)]);
        assert_eq!(counts, [1, 1, 0]);
    }
}
