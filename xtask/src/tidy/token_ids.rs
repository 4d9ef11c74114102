//! Tokens with a role (mask, end, padding, …) are asked for by role; their numbers stand in no code but that of
//! checkpoint families, whose files cannot say it otherwise.
//!
//! A net with a known mesh: it catches a name that says "token" or "id" and a role (`mask_token_id`, `END_ID`), a bare
//! `mask`, `eos`, `bos` or `eot`, or anything of the type `TokenId`, where a number is written right after `=`, `==`,
//! `!=`, `:` or `=>`. Bare names get 0 and 1 for free, since those are also flags and bit masks. Tests use toy
//! vocabularies and are left out.

use super::{Findings, place};
use crate::repository::Repository;
use crate::rust::{is_name, without_tests};

/// Where numbers of other people's tokens have to stand, and the toy vocabularies of tests.
const EXEMPT: [&str; 3] = ["crates/network/src/families/", "crates/testing/", "golden/"];

const ROLES: [&str; 11] =
    ["mask", "end", "eos", "eot", "pad", "padding", "begin", "bos", "picture", "sound", "unknown"];
const BARE: [&str; 4] = ["mask", "eos", "eot", "bos"];

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    for file in repository.ending(".rs").filter(|file| !file.is_test() && !file.is_in(&EXEMPT)) {
        for (number, line) in without_tests(&file.text).lines().enumerate() {
            for (name, value) in numbered_names(line) {
                findings.push(format!(
                    "{}: `{name}` is {value}; ask the vocabulary or the checkpoint for the token of that role",
                    place(&file.path, number)
                ));
            }
        }
    }
    findings
}

/// Names of the line that look like a token's and are given or compared to a number.
fn numbered_names(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_name) {
        let name = &rest[start..];
        let name = &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())];
        rest = &rest[start + name.len()..];
        let least = if name == "TokenId" || names_a_token(name) {
            0
        } else if BARE.contains(&name) {
            2
        } else {
            continue;
        };
        if let Some(value) = number_given(rest).filter(|value| is_at_least(value, least)) {
            found.push((name, value));
        }
    }
    found
}

/// Whether a name says both "token" or "id" and a role.
fn names_a_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let says = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    says(&["token", "tokens", "id", "ids"]) && says(&ROLES)
}

/// The number written right after an operator that gives or compares; `Some(`, `&` and the like may stand between.
fn number_given(rest: &str) -> Option<&str> {
    let rest = rest.trim_start();
    let after = ["==", "!=", "=>", "=", ":"].iter().find_map(|operator| rest.strip_prefix(operator))?;
    let after = after.trim_start_matches([' ', '&', '[', '(']);
    let after = after.strip_prefix("Some(").unwrap_or(after);
    let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
    let is_fraction = after[end..].starts_with('.') && !after[end..].starts_with("..");
    let is_number = after.starts_with(|c: char| c.is_ascii_digit());
    (is_number && !is_fraction).then_some(&after[..end])
}

/// Whether a decimal literal is large enough to be meant; other bases are bit masks.
fn is_at_least(literal: &str, least: u64) -> bool {
    let digits: String = literal.chars().filter(|c| *c != '_').take_while(char::is_ascii_digit).collect();
    let is_decimal = !literal.starts_with("0x") && !literal.starts_with("0b");
    is_decimal && digits.parse::<u64>().is_ok_and(|value| value >= least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    fn found(line: &str) -> usize {
        let text = format!("//! A.\n{line}\n");
        check(&files(&[("crates/generate/src/a.rs", &text)])).len()
    }

    #[test]
    fn literal_tokens_are_found() {
        for line in [
            "const MASK_ID: u32 = 1; let mask_token = 126336;",
            "let mask_token_id = 4;",
            "if token == self.mask { } else if self.eos == 126_081 { }",
            "Masked { mask: 151666, schedule }",
            "const END: TokenId = 2;",
            "spec.mask_token = Some(0);",
            "let pad_ids = [3, 4];",
            "match role { x => y, mask => 7 }",
        ] {
            assert_eq!(found(line), 1, "{line}");
        }
    }

    #[test]
    fn numbers_that_are_no_tokens_are_left_alone() {
        for line in [
            "let mask = 1; let mask = 0xff; let mask = 1 << 3;",
            "let mask_token = vocabulary.role(Role::Mask);",
            "let end_id = ids.len(); let end = 7; let padding = 4;",
            "let mask_token_share = 0.15;",
            "let text = \"mask_token = 4\"; // mask_token = 4",
            "for mask_token in 0..4 {}",
            "fn mask_token(&self) -> u32 { self.mask }",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
        let families = "//! A.\nconst MASK_TOKEN: u32 = 126336;\n";
        assert_eq!(check(&files(&[("crates/network/src/families/llada.rs", families)])).len(), 0);
        assert_eq!(check(&files(&[("crates/diffusion/tests/laws.rs", "//! A.\nlet mask_token = 4;\n")])).len(), 0);
    }
}
