//! From files to canvases.

mod canvases;
mod sources;
