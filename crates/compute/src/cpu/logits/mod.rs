//! What is made of one row of logits.

mod best;
mod draw;
mod expected;

pub use best::summarise_row;
pub use draw::{ShapedRow, draw_row, shape_row};
pub use expected::draw_row_expecting;
