//! `/metrics`: what the tracker has done and how it stands, for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use tracker::{CatalogueError, ConnectionCounters, Shared, TextCounters};

use super::exposition::Exposition;

/// The whole page.
pub(super) async fn render(shared: &Shared) -> Result<String, CatalogueError> {
    let mut page = Exposition::default();
    let version = env!("CARGO_PKG_VERSION");
    page.info("teem_build_info", "The program.", &[("version", version)]);
    let stored = shared.catalogue.stored().await?;
    page.gauge("teem_uptime_seconds", "Time since the start.", shared.uptime().as_secs());
    page.gauge("teem_torrents", "Names in the catalogue.", stored.names);
    page.gauge("teem_versions", "Versions of all names.", stored.versions);
    page.gauge("teem_catalogue_bytes", "Torrent files and their index, about.", stored.bytes);
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory of the process.", bytes);
    }
    swarms(&mut page, shared);
    let (peers, files) = shared.simple_totals();
    page.gauge("teem_json_peers", "Peers that registered over JSON.", peers);
    page.gauge("teem_json_files", "Files that these have.", files);
    connections(&mut page, "http", &shared.http.connections);
    connections(&mut page, "json", &shared.json.connections);
    connections(&mut page, "text", &shared.text.connections);
    connections(&mut page, "admin", &shared.admin.connections);
    requests(&mut page, shared);
    lists(&mut page, shared);
    tls(&mut page, shared);
    text(&mut page, &shared.text);
    let (of, latencies) = ("in seconds.", &shared.latencies);
    for (name, help, histogram) in [
        ("teem_udp_batch_seconds", "A batch of UDP packets, to its answers,", &latencies.udp_batch),
        (
            "teem_http_announce_seconds",
            "An announce or scrape over HTTP,",
            &latencies.http_announce,
        ),
        ("teem_json_request_seconds", "A JSON request,", &latencies.json_request),
        (
            "teem_text_batch_seconds",
            "A batch of text datagrams, to its answers,",
            &latencies.text_batch,
        ),
        ("teem_catalogue_seconds", "An operation of the catalogue,", &latencies.catalogue),
    ] {
        page.histogram(name, &format!("{help} {of}"), &histogram.distribution());
    }
    Ok(page.finish())
}

fn swarms(page: &mut Exposition, shared: &Shared) {
    let totals = shared.swarms.totals();
    page.gauge("teem_swarms", "Swarms with at least one peer.", totals.swarms);
    page.gauge("teem_peers", "Peers of all swarms.", totals.peers);
    page.gauge("teem_seeders", "Peers that have all of their content.", totals.seeders);
    page.counter("teem_completed_total", "Downloads that ended.", totals.completed);
    page.counter("teem_evicted_total", "Swarms and peers dropped to make room.", totals.evicted);
    page.counter("teem_unnoted_total", "Announces not noted, for lack of room.", totals.refused);
}

fn connections(page: &mut Exposition, protocol: &str, counters: &ConnectionCounters) {
    let name = |what: &str| format!("teem_{protocol}_{what}");
    page.counter(&name("connections_total"), "Connections accepted.", read(&counters.accepted));
    page.counter(&name("turned_away_total"), "Connections too many.", read(&counters.turned_away));
    page.counter(
        &name("evicted_total"),
        "Connections ended to make room.",
        read(&counters.evicted),
    );
    page.gauge(&name("connections_open"), "Connections open now.", counters.open());
}

fn requests(page: &mut Exposition, shared: &Shared) {
    let (udp, http, json) = (&shared.udp, &shared.http, &shared.json);
    for (name, help, counter) in [
        ("teem_udp_packets_total", "UDP packets received.", &udp.received),
        ("teem_udp_connects_total", "UDP connection ids handed out.", &udp.connects),
        ("teem_udp_announces_total", "UDP announces answered.", &udp.announces),
        ("teem_udp_scrapes_total", "UDP scrapes answered.", &udp.scrapes),
        ("teem_udp_refused_total", "UDP announces and scrapes refused.", &udp.refused),
        ("teem_udp_limited_total", "UDP requests over a network's quota.", &udp.limited),
        ("teem_udp_denied_total", "UDP requests that lists do not let in.", &udp.denied),
        ("teem_udp_bad_ids_total", "UDP requests without a good id.", &udp.bad_ids),
        ("teem_udp_malformed_total", "UDP packets that are no request.", &udp.malformed),
        ("teem_udp_unsent_total", "UDP answers that were not taken.", &udp.unsent),
        ("teem_http_requests_total", "HTTP requests of any kind.", &http.requests),
        ("teem_http_announces_total", "HTTP announces answered.", &http.announces),
        ("teem_http_scrapes_total", "HTTP scrapes answered.", &http.scrapes),
        ("teem_http_refused_total", "HTTP announces and scrapes refused.", &http.refused),
        ("teem_http_limited_total", "HTTP requests over a network's quota.", &http.limited),
        ("teem_http_denied_total", "HTTP requests that lists do not let in.", &http.denied),
        ("teem_json_requests_total", "JSON requests answered.", &json.requests),
        ("teem_json_refused_total", "JSON requests answered with an error.", &json.refused),
        ("teem_json_limited_total", "JSON requests over a network's quota.", &json.limited),
        ("teem_json_denied_total", "JSON requests that lists do not let in.", &json.denied),
        ("teem_admin_requests_total", "Requests of the operator.", &shared.admin.requests),
    ] {
        page.counter(name, help, read(counter));
    }
}

fn lists(page: &mut Exposition, shared: &Shared) {
    let sizes = shared.lists.sizes();
    page.gauge("teem_listed_hashes", "Info hashes on the lists.", sizes.hashes);
    page.gauge("teem_listed_clients", "Clients on the lists.", sizes.clients);
    let failed = shared.reloads_failed();
    page.gauge("teem_reloads_failed", "Reloads failed since one that did not.", failed);
}

/// What TLS has done, where it is spoken.
fn tls(page: &mut Exposition, shared: &Shared) {
    let Some(tls) = &shared.tls else { return };
    let counters = tls.counters();
    page.counter("teem_tls_handshakes_total", "TLS handshakes done.", read(&counters.handshakes));
    page.counter("teem_tls_resumed_total", "Of these, from a ticket.", read(&counters.resumed));
    page.counter("teem_tls_failures_total", "TLS handshakes failed.", read(&counters.failures));
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn text(page: &mut Exposition, text: &TextCounters) {
    for (name, help, gauge) in [
        ("teem_text_seeders", "Seeders registered by text.", &text.seeders),
        ("teem_text_chunk_list_bytes", "Bytes in their chunk lists.", &text.lists_len),
        (
            "teem_text_catalogue_seeders",
            "Seeders of the catalogue listed by text.",
            &text.catalogue_seeders,
        ),
    ] {
        page.gauge(name, help, read(gauge));
    }
    for (name, help, counter) in [
        ("teem_text_datagrams_total", "Text datagrams received.", &text.received),
        ("teem_text_registers_total", "Text registers taken.", &text.registers),
        ("teem_text_refused_total", "Text registers not taken.", &text.refused),
        ("teem_text_lists_total", "Text lists of seeders sent.", &text.lists),
        ("teem_text_unproven_total", "Empty lists to unproven sources.", &text.unproven),
        ("teem_text_malformed_total", "Datagrams that are no request.", &text.malformed),
        ("teem_text_unsent_total", "Text answers that were not taken.", &text.unsent),
        ("teem_text_fetches_total", "Connections to seeders.", &text.fetches),
        ("teem_text_delivered_total", "Chunk lists that came.", &text.delivered),
        ("teem_text_not_delivered_total", "Chunk lists refused.", &text.not_delivered),
        ("teem_text_handed_out_total", "Chunk lists handed out.", &text.handed_out),
        ("teem_text_unanswered_total", "Connections closed unanswered.", &text.unanswered),
    ] {
        page.counter(name, help, read(counter));
    }
}
