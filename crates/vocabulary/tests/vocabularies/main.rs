//! Text to tokens and back, templates and chats.

mod chat;
mod decoding;
mod kinds;
mod roles;
mod smiles;
mod template;
mod vocabulary;
