//! A server in this process with a small model, and a client that shows what is on the wire.

mod call;
mod joint;
mod running;
mod stream;

pub(crate) use call::{Answer, Call};
pub(crate) use joint::{joint, picture_url, speaking, tone};
pub(crate) use running::{Running, fixture, settings};
pub(crate) use stream::{ServerEvent, Stream};
