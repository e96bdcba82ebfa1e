//! `/metrics`: the counters in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use tracker::{CatalogueError, Shared};

/// All counters and gauges, a few lines each.
pub(super) async fn render(shared: &Shared) -> Result<String, CatalogueError> {
    let mut text = String::with_capacity(4_096);
    let totals = shared.swarms.totals();
    let stored = shared.catalogue.stored().await?;
    let (udp, http, json) = (&shared.udp, &shared.http, &shared.json);
    let gauges = [
        ("teem_uptime_seconds", "Time since the start.", shared.uptime().as_secs()),
        ("teem_torrents", "Names in the catalogue.", stored.names),
        ("teem_versions", "Versions of all names.", stored.versions),
        ("teem_catalogue_bytes", "Torrent files and their index, about.", stored.bytes),
        ("teem_swarms", "Swarms with at least one peer.", totals.swarms as u64),
        ("teem_peers", "Peers of all swarms.", totals.peers as u64),
        ("teem_seeders", "Peers that have all of their content.", totals.seeders as u64),
    ];
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = [
        ("teem_completed_total", "Downloads that ended.", totals.completed),
        ("teem_unnoted_total", "Announces not noted, for lack of room.", totals.refused),
        ("teem_evicted_total", "Swarms and peers dropped to make room.", totals.evicted),
        ("teem_udp_packets_total", "UDP packets received.", read(&udp.received)),
        ("teem_udp_connects_total", "UDP connection ids handed out.", read(&udp.connects)),
        ("teem_udp_announces_total", "UDP announces answered.", read(&udp.announces)),
        ("teem_udp_scrapes_total", "UDP scrapes answered.", read(&udp.scrapes)),
        ("teem_udp_refused_total", "UDP announces and scrapes refused.", read(&udp.refused)),
        ("teem_udp_limited_total", "UDP requests over a network's quota.", read(&udp.limited)),
        ("teem_udp_bad_ids_total", "UDP requests without a good id.", read(&udp.bad_ids)),
        ("teem_udp_malformed_total", "UDP packets that are no request.", read(&udp.malformed)),
        ("teem_udp_unsent_total", "UDP answers that were not taken.", read(&udp.unsent)),
        (
            "teem_http_connections_total",
            "HTTP connections accepted.",
            read(&http.connections.accepted),
        ),
        (
            "teem_http_turned_away_total",
            "HTTP connections too many.",
            read(&http.connections.turned_away),
        ),
        ("teem_http_requests_total", "HTTP requests of any kind.", read(&http.requests)),
        ("teem_http_announces_total", "HTTP announces answered.", read(&http.announces)),
        ("teem_http_scrapes_total", "HTTP scrapes answered.", read(&http.scrapes)),
        ("teem_http_refused_total", "HTTP announces and scrapes refused.", read(&http.refused)),
        ("teem_http_limited_total", "HTTP requests over a network's quota.", read(&http.limited)),
        (
            "teem_json_connections_total",
            "JSON connections accepted.",
            read(&json.connections.accepted),
        ),
        (
            "teem_json_turned_away_total",
            "JSON connections too many.",
            read(&json.connections.turned_away),
        ),
        ("teem_json_requests_total", "JSON requests answered.", read(&json.requests)),
        ("teem_json_refused_total", "JSON requests answered with an error.", read(&json.refused)),
    ];
    let tls = tls(shared);
    let all = [("gauge", &gauges[..]), ("counter", &counters[..]), ("counter", &tls[..])];
    for (kind, values) in all {
        for (name, help, value) in values {
            // Writing to a string cannot fail.
            _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    }
    Ok(text)
}

/// What TLS has done, where it is spoken.
fn tls(shared: &Shared) -> Vec<(&'static str, &'static str, u64)> {
    let Some(tls) = &shared.tls else { return Vec::new() };
    let counters = tls.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    vec![
        ("teem_tls_handshakes_total", "TLS handshakes done.", read(&counters.handshakes)),
        ("teem_tls_resumed_total", "Of these, taken up from a ticket.", read(&counters.resumed)),
        ("teem_tls_failures_total", "TLS handshakes that failed.", read(&counters.failures)),
    ]
}
