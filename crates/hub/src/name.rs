//! What a model of the Hub is called: `owner/name`, or `owner/name@revision`.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The revision where none is named.
const MAIN: &str = "main";
/// Characters that the Hub allows in the name of an owner or of a repository.
const LONGEST_PART: usize = 96;
/// Characters of a revision; branches of pull requests are `refs/pr/12`.
const LONGEST_REVISION: usize = 255;

/// A model of the Hub in a revision: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName {
    repository: String,
    revision: Option<String>,
}

/// A text that is no model's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// It is not `owner/name`.
    #[error("`{name}` is no name of a model on the Hub; allowed: `owner/name`, `owner/name@revision`")]
    Shape {
        /// What was given.
        name: String,
    },
    /// An owner or a name that the Hub does not allow.
    #[error(
        "`{part}` in `{name}` is not allowed; allowed: 1 to 96 letters, digits, `-`, `_` and `.`, without `--` or `..`, \
         beginning and ending with a letter, a digit or `_`"
    )]
    Part {
        /// What was given.
        name: String,
        /// The part of it.
        part: String,
    },
    /// A revision that git does not allow.
    #[error(
        "revision `{revision}` of `{name}` is not allowed; allowed: letters, digits, `-`, `_`, `.` and `/`, without `..`"
    )]
    Revision {
        /// The repository.
        name: String,
        /// The revision.
        revision: String,
    },
}

impl NameError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some("a model is named as on its page, such as `GSAI-ML/LLaDA-8B-Instruct`".to_owned())
    }
}

impl ModelName {
    /// `owner/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, the tag or the commit: `main` where none is named.
    pub fn revision(&self) -> &str {
        self.named_revision().unwrap_or(MAIN)
    }

    /// The branch, the tag or the commit, if one is named.
    pub fn named_revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Whether the revision is a whole commit, which never changes.
    pub fn is_commit(&self) -> bool {
        is_commit(self.revision())
    }

    /// The same model in another revision, which comes from this module's own rule.
    pub(crate) fn at(repository: &str, revision: &str) -> Option<Self> {
        format!("{repository}@{revision}").parse().ok()
    }
}

/// Whether a text is the whole hash of a git commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let refused = || NameError::Shape { name: text.to_owned() };
        let (owner, name) = repository.split_once('/').ok_or_else(refused)?;
        if name.contains('/') {
            return Err(refused());
        }
        for part in [owner, name] {
            if !is_part(part) {
                return Err(NameError::Part { name: text.to_owned(), part: part.to_owned() });
            }
        }
        if let Some(revision) = revision.filter(|revision| !is_revision(revision)) {
            return Err(NameError::Revision { name: repository.to_owned(), revision: revision.to_owned() });
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// The Hub's own rule for owners and names. Since `--` is not allowed, the folder `models--owner--name` has one reading.
fn is_part(part: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    part.len() <= LONGEST_PART
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(part.chars().next())
        && edge(part.chars().last())
        && !part.contains("--")
        && !part.contains("..")
}

/// A revision is part of a path and of an address, so it is held to what is plain in both.
fn is_revision(revision: &str) -> bool {
    revision.len() <= LONGEST_REVISION
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && revision.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !revision.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, repository, revision) in [
            ("GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Instruct", "main"),
            ("a/b.c_d@refs/pr/12", "a/b.c_d", "refs/pr/12"),
            ("a/b@v1.0", "a/b", "v1.0"),
        ] {
            let name: ModelName = text.parse().unwrap();
            assert_eq!((name.repository(), name.revision(), name.to_string().as_str()), (repository, revision, text));
            assert!(!name.is_commit());
        }
        assert!(format!("a/b@{}", "0123456789".repeat(4)).parse::<ModelName>().unwrap().is_commit());
        let named = "a/b@main".parse::<ModelName>().unwrap();
        assert_eq!(
            (named.named_revision(), "a/b".parse::<ModelName>().unwrap().named_revision()),
            (Some("main"), None)
        );
    }

    #[test]
    fn what_the_hub_does_not_allow_is_refused() {
        for text in
            ["", "a", "a/", "/b", "a/b/c", "a//b", "../b", "a/..", "a/b--c", "a/.b", "a/b-", "a b/c", "a/b@", "é/b"]
        {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
        for revision in ["../main", "a/../b", "/main", "a//b", "main/", ".hidden", "a b", "a?b", "a%2e", "@"] {
            assert!(format!("a/b@{revision}").parse::<ModelName>().is_err(), "{revision}");
        }
        let long = "x".repeat(LONGEST_PART + 1);
        assert!(format!("a/{long}").parse::<ModelName>().is_err());
        assert_eq!(
            "tales@main".parse::<ModelName>().unwrap_err().to_string(),
            "`tales@main` is no name of a model on the Hub; allowed: `owner/name`, `owner/name@revision`"
        );
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_folder_that_it_is_joined_to(text in "[a-c./@_\\-]{0,12}") {
            if let Ok(name) = text.parse::<ModelName>() {
                for part in [name.repository(), name.revision()] {
                    let normal = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
                    prop_assert!(std::path::Path::new(part).components().all(normal), "{text}");
                }
            }
        }
    }
}
