//! Methods that are registered (RFC 9110, section 16.1).
//!
//! A method that is not in the registry has unknown semantics, and may not be one of HTTP at all.
//! The main function is [`is_registered`].

/// The HTTP Method Registry of IANA, in its order. `PRI` and `*` are reserved there, and no request
/// may use them.
const REGISTERED: [&str; 39] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Returns whether a method is registered. Methods are case-sensitive.
pub fn is_registered(method: &str) -> bool {
    REGISTERED.contains(&method)
}
