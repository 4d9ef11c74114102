//! From files to canvases: every kind of file, what is passed over, and what is made of the rest.

mod canvases;
mod conversations;
mod documents;
mod folders;
mod formats;
mod media;
mod packing;
mod rows;
mod support;
