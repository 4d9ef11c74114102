//! The operations of a device against golden files, and their gradients on the tape.

mod balance;
mod golden;
mod quantised;
mod tape;
