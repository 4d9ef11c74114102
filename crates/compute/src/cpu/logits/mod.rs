//! What is made of one row of logits.

mod best;
mod draw;

pub use best::summarise_row;
pub use draw::draw_row;
