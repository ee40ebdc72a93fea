//! The HTTP server: the only module that knows actix.
//!
//! It parses requests into the types of [`gateway`](crate::gateway) and renders the responses that
//! come back. It decides nothing about caching. A request enters in `service` and goes through
//! `gateway_endpoint` or `proxy_endpoint` to the gateway. `render` and `error_response` make the
//! HTTP response from the result. The main type is [`HttpService`].

mod access_log;
mod api;
mod body;
mod builtin_pages;
mod chunked_body;
mod client_info;
mod config;
mod connect;
mod connect_client;
mod connect_intercepted;
mod connect_response;
mod connect_routes;
mod connection;
mod error_response;
mod error_status;
mod first_bytes;
mod framing_error;
mod gateway_endpoint;
mod host_check;
mod host_mapping;
mod index_endpoint;
mod index_response;
mod intercepted;
mod login;
mod methods;
mod metrics_page;
mod mirror_endpoint;
mod mirror_pages;
mod mirror_request;
mod mirror_upload;
mod node_name;
mod options;
mod own_url;
mod page_body;
mod parse_request;
mod peer_link;
mod peer_request;
mod proxy_endpoint;
mod proxy_header;
mod registry_endpoint;
mod registry_referrers;
mod render;
mod render_observed;
mod rendered_response;
mod request_body;
mod request_guard;
mod request_head;
mod request_scanner;
mod responder;
mod response_body;
mod response_context;
mod response_facts;
mod response_parts;
mod server;
mod service;
mod state;
mod swagger;
mod tunnel;
mod ui_endpoint;
mod ui_task;
mod usage_page;

pub use api::Query;
pub use config::ProxyConfig;
pub use framing_error::{FramingError, MAX_FIELDS, MAX_HEAD_BYTES};
pub use proxy_header::{ProxyHeaderError, read_proxy_header};
pub use request_head::{Expectation, HeadNotes, ScannedEnd};
pub use request_scanner::RequestScanner;
pub use server::{HttpServer, Listeners};
pub use state::{HttpConfig, HttpService, OperatorServices, Reports, Settings};
pub use ui_task::run_page;
