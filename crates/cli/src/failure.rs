//! What a command fails with: a message, its causes, a hint and an exit code.

use aquatint::{Fault, Hint};
use std::error::Error;
use std::fmt;
use std::io;

/// How the process ends when a command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The reader of our output went away, which is its right: exit code 0.
    Silent,
    /// Something went wrong, the answer is "no", or the command was interrupted: exit code 1.
    Failed,
    /// Something was requested wrongly, or a guard refused what was given or written: exit code 2.
    BadInput,
}

impl Ending {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Silent => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
        }
    }
}

/// A failed command, ready to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    ending: Ending,
}

impl Failure {
    /// A failure with its own message; ends with exit code 2.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None, ending: Ending::BadInput }
    }

    /// A library's error with the chain of its sources; ends with exit code 2.
    pub(crate) fn of(error: &dyn Error) -> Self {
        let mut failure = Self::new(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors repeat the message of what they wrap; saying it once is enough.
            if !failure.causes.last().unwrap_or(&failure.message).contains(&text) {
                failure.causes.push(text);
            }
            source = cause.source();
        }
        failure
    }

    /// Puts `message` in front and makes what was the message its first cause.
    pub(crate) fn context(mut self, message: impl Into<String>) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.message, message.into()));
        self
    }

    /// Says what to do next in place of what was said before.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Like [`Failure::hint`] where a library may have none.
    pub(crate) fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Ends with exit code 1: nothing was asked wrongly.
    pub(crate) fn failed(mut self) -> Self {
        self.ending = Ending::Failed;
        self
    }

    /// The command was told to stop; `message` says where it stands. Ends with exit code 1.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(message).failed()
    }

    /// A failed write to standard output; a closed pipe ends the process silently and successfully.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        let mut failure = Self::of(error).context("could not write to standard output").failed();
        if error.kind() == io::ErrorKind::BrokenPipe {
            failure.ending = Ending::Silent;
        }
        failure.maybe_hint(error.hint())
    }

    /// A failed read of standard input.
    pub(crate) fn of_input(error: &io::Error) -> Self {
        Self::of(error).context("could not read standard input").failed()
    }

    /// A failed read or write of the file `path`; the exit code says whether the path is to blame.
    pub(crate) fn of_file(action: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let failure = Self::of(error).context(format!("could not {action} `{}`", path.display()));
        failure.maybe_hint(error.hint()).blame(error)
    }

    /// Takes the exit code from whose fault an error is.
    fn blame(self, error: &impl Fault) -> Self {
        if error.is_failure() { self.failed() } else { self }
    }

    /// How the process ends.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }
}

/// A library's error with its causes, its hint and the exit code that says whose fault it is.
impl<E: Error + Hint + Fault> From<E> for Failure {
    fn from(error: E) -> Self {
        let hint = error.hint();
        Self::of(&error).maybe_hint(hint).blame(&error)
    }
}

/// A library's error and its hint in one line.
pub(crate) fn in_one_line<E: Error + Hint>(error: &E) -> String {
    let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{error}{hint}")
}

/// `error: …`, one line `  caused by: …` for each cause, a blank line and `hint: …`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_message_causes_and_hint() {
        let error = io::Error::new(io::ErrorKind::StorageFull, "no space left on device");
        let failure = Failure::of_file("write", std::path::Path::new("out.json"), &error);
        assert_eq!(
            failure.to_string(),
            "error: could not write `out.json`\n  caused by: no space left on device\n\nhint: the disk is full; free \
             some space or choose a folder on another disk, then run the same command again"
        );
        assert_eq!(failure.ending().code(), 1);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Failure::of_file("read", std::path::Path::new("in.txt"), &missing).ending().code(), 2);
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::of_output(&error).ending(), Ending::Silent);
        let error = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::of_output(&error).ending(), Ending::Failed);
    }
}
