//! The tracker's HTTP API: the catalogue under `/api/v1` and its status for everybody; metrics and
//! statistics for the operator, at addresses of their own. `dto` says what goes over the wire,
//! `table` which routes there are, where, and who may ask.
//!
//! Handed-out torrent files and magnet links name this tracker under the host that the client used in
//! its own request: what reached the tracker once reaches it again. The `Host` header is checked
//! letter by letter before it gets into a URL; without a usable one the connection's own address
//! stands in. The torrent's own trackers follow in later tiers, those on loopback left out.

mod admin;
mod caller;
mod convert;
pub(crate) mod dto;
mod exposition;
mod hosts;
mod metrics;
mod openapi;
mod page;
mod publishing;
mod refusal;
#[expect(unused_qualifications, reason = "the code that describes the parameters is not ours")]
mod routes;
#[expect(unused_qualifications, reason = "the code that describes the parameters is not ours")]
pub(crate) mod statistics;
mod table;
mod tokens;

pub(crate) use hosts::announce_path;
pub(crate) use table::routers;

#[cfg(test)]
mod tests;
