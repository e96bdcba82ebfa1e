//! The API of a running daemon, under `/api/v1`, for the person who runs it: on loopback, with a token
//! that stands in a file of theirs. `dto` says what goes over the wire, `table` which routes there are.
//!
//! A page of the web reaches loopback, too. It gets nothing: it does not know the token, requests under
//! names of strangers (DNS rebinding) and from pages of other origins are refused, and no answer says that
//! others may read it (CORS).

mod client;
mod door;
pub(crate) mod dto;
mod events;
mod feed;
mod openapi;
#[expect(unused_qualifications, reason = "the code that describes the parameters is not ours")]
mod routes;
mod server;
mod table;

pub(crate) use client::Client;
pub(crate) use door::Door;
pub(crate) use server::Server;

#[cfg(test)]
mod tests;
