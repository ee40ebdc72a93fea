//! Container images below `/v2/`: names, content by digest, tags, tokens, and real clients.

mod content;
mod names;
mod stage;
mod tags;
mod tokens;
