//! Tests of the two endpoints: requests and responses as RFC 9110 and RFC 9112 define them.

mod build_clients;
mod builtin_pages;
mod connect_http;
mod headers;
mod host_names;
mod miss_policy;
mod own_address;
mod pass_through;
mod pipelining;
mod preconditions;
mod protocol;
mod proxy_endpoint;
mod proxy_status;
mod ranges;
mod reason_phrases;
mod request_targets;
mod signed_urls;
mod target_tables;
mod trusted_proxies;
pub mod tunnel;
pub mod tunnel_policy;
mod unsafe_requests;
mod upgrade_hosts;
mod url_prefix;
mod usage_page;
mod via;
