//! Pieces of large objects: how they are computed and kept, Metalink documents, and downloads from
//! several sources.

mod aria2;
mod downloads;
mod lists;
mod metalinks;
mod nodes;
mod stage;
mod torrents;
