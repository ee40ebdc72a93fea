//! `millpond adopt`: the files of a folder are taken into the cache folder of a running gateway.

mod depot;
mod folder_entries;
mod integrity;
mod lists;
mod watch;
