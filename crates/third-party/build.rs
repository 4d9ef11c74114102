//! Cargo counts `[build-dependencies]` only where there is a build script; see Cargo.toml.

fn main() {}
