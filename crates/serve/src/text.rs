//! Text as it is written: what is final in reading order, stop strings, and what came of a request.

mod characters;
mod run;
mod stop;
mod transcript;
mod usage;

pub(crate) use characters::take_characters;
pub(crate) use run::{Completed, Finish, Submission, TextEvent, TextRun, WrittenToken};
pub(crate) use stop::StopStrings;
pub(crate) use usage::Usage;
