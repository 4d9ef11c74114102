//! The rewards that a name finds: one file and one line for each.

mod arithmetic;
mod countdown;
mod format;
mod length;
mod novelty;
mod program;
mod sudoku;

use crate::{Reward, RewardError};
use std::time::Duration;

/// How long a program may take over the attempts of one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seconds(Duration);

impl Seconds {
    /// So many seconds.
    ///
    /// # Errors
    /// When it is not above 0, or more than a clock holds.
    pub fn new(seconds: f64) -> Result<Self, RewardError> {
        let allowed = || RewardError::Name { given: seconds.to_string(), allowed: "seconds above 0".to_owned() };
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(allowed()),
        }
    }
}

impl Default for Seconds {
    /// 60 seconds.
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// The reward of a name; see the table of the crate. `seconds` bounds a program.
///
/// # Errors
/// When there is no such reward, its argument does not fit, or a file that it names cannot be read.
pub fn reward(name: &str, seconds: Seconds) -> Result<Box<dyn Reward>, RewardError> {
    let (word, argument) = match name.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (name, None),
    };
    let number = |argument: Option<&str>| {
        let number = argument.and_then(|argument| argument.trim().parse::<usize>().ok());
        number.filter(|number| (1..=1_000_000).contains(number))
    };
    let refused = |allowed: &str| RewardError::Name { given: name.to_owned(), allowed: allowed.to_owned() };
    Ok(match (word, argument) {
        ("sudoku", None) => Box::new(sudoku::Sudoku { whole: false }),
        ("sudoku", Some("solved")) => Box::new(sudoku::Sudoku { whole: true }),
        ("countdown", None) => Box::new(countdown::Countdown),
        ("arithmetic", None) => Box::new(arithmetic::Arithmetic),
        ("regex", Some(pattern)) => Box::new(format::Format::regex(pattern)?),
        ("json-schema", Some(path)) => Box::new(format::Format::json_schema(path)?),
        ("molecule", None) => Box::new(format::Format::molecule()?),
        ("length", argument) => match number(argument) {
            Some(characters) => Box::new(length::Length { characters }),
            None => return Err(refused("`length:CHARACTERS`, 1 or more")),
        },
        ("novelty", argument) => match number(argument) {
            Some(words) => Box::new(novelty::Novelty { words }),
            None => return Err(refused("`novelty:WORDS`, 1 or more")),
        },
        ("program", Some(command)) if !command.trim().is_empty() => Box::new(program::Program::new(command, seconds.0)),
        _ => {
            return Err(refused(
                "sudoku, sudoku:solved, countdown, arithmetic, regex:PATTERN, json-schema:FILE, molecule, length:CHARACTERS, \
                 novelty:WORDS, program:COMMAND",
            ));
        }
    })
}
