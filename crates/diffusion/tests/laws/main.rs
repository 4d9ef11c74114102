//! Laws of the mathematics: closed forms, exact enumerations and properties. Every random test has a fixed seed.

mod canvas;
mod constraint;
mod costs;
mod domain;
mod draws;
mod editing;
mod fields;
mod filling;
mod golden;
mod insert_delete;
mod layout;
mod masked;
mod mixing;
mod objective;
mod oracle;
mod order;
mod plan;
mod policy;
mod proposal;
mod remasking;
mod reverse;
mod step;
mod stopping;
mod time_density;
mod time_sampling;

/// A refused setting: the message and the hint.
fn refusal(error: &aquatint_diffusion::SettingError) -> String {
    format!("{error} | {}", error.hint().expect("no hint"))
}
