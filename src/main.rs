//! The binary: reads its arguments and leaves the rest to the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Pieces of bodies come and go all the time; the system's allocator gives their pages back and takes them again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    millpond::cli::run()
}
