//! The tracker's HTTP API.

pub(crate) mod dto;
