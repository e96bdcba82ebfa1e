//! The tracker's HTTP API: the catalogue under `/api/v1`, its status and its metrics. `dto` says what
//! goes over the wire.
//!
//! Handed-out torrent files and magnet links name this tracker under the host that the client used in
//! its own request: what reached the tracker once reaches it again. The `Host` header is checked
//! letter by letter before it gets into a URL; without a usable one the connection's own address
//! stands in. The torrent's own trackers follow in later tiers, those on loopback left out.

mod caller;
mod convert;
pub(crate) mod dto;
mod hosts;
mod metrics;
mod refusal;
mod routes;

pub(crate) use routes::router;

#[cfg(test)]
mod tests;
