//! Laws of the mathematics: closed forms, exact enumerations and properties. Every random test has a fixed seed.

mod canvas;
mod draws;
mod filling;
mod layout;
mod masked;
mod objective;
mod oracle;
mod plan;
mod policy;
mod proposal;
mod remasking;
mod stopping;
mod time_sampling;
