//! The façade, as a user of the library calls it.

mod learning;
mod llada;
