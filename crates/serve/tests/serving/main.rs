//! A server in this process, as clients see it.

mod completions;
mod support;
