//! Tests of the clients for http and https origins.

mod bad_origins;
mod files;
mod framing;
mod heads;
mod http_client;
mod labels;
mod tls;
mod tls_certificates;
mod tls_handshakes;
