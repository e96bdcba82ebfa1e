//! Lines that come and go with peers, for whoever watches the tracker at a terminal. Without addresses.

use crate::sample::Sample;

pub(super) fn registered(peer_id: &str, files: usize) {
    static SAMPLE: Sample = Sample::new();
    if tracing::enabled!(tracing::Level::INFO)
        && let Some(left_out) = SAMPLE.take_one()
    {
        tracing::info!(peer_id, files, left_out, "registered over JSON");
    }
}

/// With some of its files, or altogether.
pub(super) fn left(peer_id: &str, files: Option<&[String]>) {
    static SAMPLE: Sample = Sample::new();
    if tracing::enabled!(tracing::Level::INFO)
        && let Some(left_out) = SAMPLE.take_one()
    {
        match files.map(<[String]>::len) {
            Some(files) => tracing::info!(peer_id, files, left_out, "unregistered over JSON"),
            None => tracing::info!(peer_id, left_out, "left over JSON"),
        }
    }
}

/// Those that fell silent.
pub(super) fn forgotten(peers: usize) {
    if peers > 0 {
        tracing::info!(peers, "JSON peers fell silent and are forgotten");
    }
}
