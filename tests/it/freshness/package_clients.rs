//! Package clients over an update of their mirror: each sees the new release at once, and gets all
//! that it has fetched while the mirror is away. The tools are those of Debian. If a tool is not
//! in Debian, or needs hundreds of megabytes, a test sends the requests that it sends. npm is run
//! where it is installed.

mod alpm;
mod apt;
pub mod archives;
mod cargo;
mod cpan;
mod gem;
mod golang;
mod intercepted;
mod language_replays;
mod maven;
mod mirror;
mod npm;
mod pip;
mod recorded;
mod rpm_md;
mod spec_sources;
mod stage;
mod system_replays;
