//! Checkpoint folders: written, read, refused, and those of other programs.

mod adapters;
mod codecs;
mod families;
mod folders;
mod gguf;
mod golden;
mod hostile;
mod llada;
mod memory;
mod orders;
mod resaved;
mod roles;
