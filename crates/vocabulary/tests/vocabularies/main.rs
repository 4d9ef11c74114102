//! Text to tokens and back, templates and chats.

mod chat;
mod template;
mod vocabulary;
