//! No code. The package's `Cargo.toml` joins the features of third-party crates and says why.
#![forbid(unsafe_code)]
