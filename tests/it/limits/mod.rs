//! Tests of limits and shares of clients.

mod client_limits;
mod daily_quota;
mod fair_shares;
mod overload;
