//! Pictures and sounds of strangers, collections, and codecs in folders.

mod collections;
mod folders;
mod hostile;
mod hostile_sounds;
