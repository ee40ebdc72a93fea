//! Integration tests: what the binary promises, asked of the binary. Each module is one promise's corner, each test is named
//! after what it proves, and all stand on one harness.

mod conditions;
mod crash;
mod cuts;
mod expected;
mod flights;
mod harness;
mod herd;
mod lifecycle;
mod logs;
mod misses;
mod origin;
mod pass;
mod policy;
mod private;
mod properties;
mod proxy;
mod ranges;
mod redirects;
mod resume;
mod rewrite;
mod rooms;
mod serving;
mod shared;
mod signed;
mod space;
mod store;
mod targets;
mod tls;
mod tools;
mod trust;
mod tunnel;
mod tunnels;
