//! The HTTP tracker protocol (BEP 3, 7, 23, 24, 31, 48): query strings and bencoded bodies.
//!
//! `query` is what travels in a URL, `reply` what comes back, `head` what stands around both on the wire.

mod head;
mod query;
mod reply;

pub use head::{Head, Read, encode_head};
pub use query::{
    AnnounceQuery, announce_query, decode_announce, decode_scrape, scrape_query, scrape_url,
};
pub use reply::{
    decode_announced, decode_scraped, encode_announced, encode_refused, encode_scraped,
};
