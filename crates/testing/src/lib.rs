//! For tests only: tiny networks of every kind, golden files made by a reference implementation, equality that says where
//! it fails, and a Hub that fails as networks do. It reports errors by panics: only tests call it.
#![forbid(unsafe_code)]

mod closeness;
mod example;
mod fake_hub;
mod golden;
mod logits;

pub use closeness::Comparison;
pub use example::Example;
pub use fake_hub::{FakeHub, Request, Trouble, git_hash, sha256};
pub use golden::Golden;
pub use logits::some_logits;
