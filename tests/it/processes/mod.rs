//! Tests of several processes on one cache folder.

mod hung_processes;
mod leases;
mod peer_processes;
mod shared_folder;
mod takeover;
