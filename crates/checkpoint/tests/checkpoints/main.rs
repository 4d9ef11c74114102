//! Checkpoint folders: written, read, refused, and those of other programs.

mod families;
mod folders;
mod golden;
mod llada;
mod resaved;
mod roles;
