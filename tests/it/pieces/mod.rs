//! Pieces of large objects: how they are computed and kept, and Metalink
//! documents.

mod aria2;
mod lists;
mod metalinks;
mod stage;
