//! The operator's status page: HTML and one style sheet, no script, nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Extension, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use tracker::{Overview, Shared, Which};

use super::caller::Admin;
use super::dto;
use super::refusal::Refused;
use super::statistics::{self, LastOverview};

/// A page about the tracker, for people
#[utoipa::path(get, path = "/", tag = "operator", responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn show(
    admin: Result<Admin, Refused>,
    State(shared): State<Arc<Shared>>,
    Extension(last): Extension<Arc<LastOverview>>,
) -> Result<impl IntoResponse, Refused> {
    admin.map_err(Refused::asking_browsers)?;
    let overview = last.look(&shared).await?;
    let mut largest = Vec::new();
    for facts in &overview.largest {
        let entry = shared.catalogue.find(Which::Hash(facts.info_hash)).await?;
        largest.push((entry.map(|entry| entry.name), statistics::torrent(facts)));
    }
    let html = html(&shared, &overview, shared.catalogue.count().await?, &largest);
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    Ok((
        [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, policy),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
        ],
        html,
    ))
}

/// The page's style sheet
#[utoipa::path(get, path = "/style.css", tag = "operator", responses(
    (status = 200, body = String, content_type = "text/css")
))]
pub(super) async fn style() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, include_str!("style.css"))
}

fn html(
    shared: &Shared,
    overview: &Overview,
    torrents: u64,
    largest: &[(Option<String>, statistics::Torrent)],
) -> String {
    let totals = overview.totals;
    let uptime = shared.uptime().as_secs();
    let mut body = String::new();
    let leechers = totals.peers.saturating_sub(totals.seeders);
    tiles(
        &mut body,
        &[
            ("Names", torrents),
            ("Swarms", totals.swarms as u64),
            ("Seeders", totals.seeders as u64),
            ("Leechers", leechers as u64),
            ("Downloads ended", totals.completed),
        ],
    );
    let rows = traffic(shared).map(|(what, counter)| {
        let count = counter.load(Ordering::Relaxed);
        vec![what.to_owned(), thousands(count), rate(count, uptime)]
    });
    table(&mut body, "Since the start", &["", "All", "A second"], rows);
    let rows = largest.iter().map(|(name, torrent)| {
        let name = name.clone().unwrap_or_else(|| torrent.info_hash.clone());
        let counts = [torrent.seeders, torrent.leechers, torrent.completed];
        std::iter::once(name).chain(counts.map(|count| thousands(count.into()))).collect()
    });
    table(&mut body, "Largest swarms", &["", "Seeders", "Leechers", "Ended"], rows);
    let rows = statistics::clients(&overview.tally).into_iter().map(|row| {
        let counts = [row.seeders_v4, row.leechers_v4, row.seeders_v6, row.leechers_v6];
        std::iter::once(row.client).chain(counts.map(thousands)).collect()
    });
    let head = ["", "Seeders IPv4", "Leechers IPv4", "Seeders IPv6", "Leechers IPv6"];
    table(&mut body, "Clients", &head, rows);
    let rows = shared.listeners.iter();
    let rows = rows.map(|at| vec![at.protocol.name().to_owned(), at.addr.to_string()]);
    table(&mut body, "Listens on", &["", "Address"], rows);
    let (name, version) = (escaped(&shared.name), env!("CARGO_PKG_VERSION"));
    let access = if shared.access.is_private() { "private" } else { "open" };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name} – Teem tracker</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n\
         </head>\n<body>\n<header>\n<h1>{name}</h1>\n\
         <p>Teem tracker {version}, {access}, up for {}</p>\n</header>\n<main>\n{body}</main>\n\
         <footer><a href=\"/metrics\">Metrics</a> <a href=\"/api/v1/statistics\">Statistics</a> \
         <a href=\"/api/v1/openapi.json\">OpenAPI</a></footer>\n</body>\n</html>\n",
        duration(uptime)
    )
}

fn traffic(shared: &Shared) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
    let (udp, http, json, text) = (&shared.udp, &shared.http, &shared.json, &shared.text);
    [
        ("UDP packets", &udp.received),
        ("UDP announces", &udp.announces),
        ("UDP scrapes", &udp.scrapes),
        ("UDP requests over a network's quota", &udp.limited),
        ("UDP requests with a bad connection id", &udp.bad_ids),
        ("HTTP requests", &http.requests),
        ("HTTP announces", &http.announces),
        ("HTTP announces and scrapes over a quota", &http.limited),
        ("HTTP announces and scrapes refused", &http.refused),
        ("JSON requests", &json.requests),
        ("Text datagrams", &text.received),
    ]
    .into_iter()
}

fn tiles(html: &mut String, tiles: &[(&str, u64)]) {
    html.push_str("<dl>\n");
    for (label, value) in tiles {
        // Writing to a string cannot fail, here and below.
        _ = writeln!(html, "<div><dt>{label}</dt><dd>{}</dd></div>", thousands(*value));
    }
    html.push_str("</dl>\n");
}

/// A table whose first column is words and whose others are numbers. Everything is escaped.
fn table(html: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut body = String::new();
    for row in rows {
        body.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let tag = if column == 0 { "th scope=\"row\"" } else { "td" };
            _ = write!(body, "<{tag}>{}</{}>", escaped(cell), &tag[..2]);
        }
        body.push_str("</tr>\n");
    }
    _ = writeln!(html, "<section>\n<h2>{title}</h2>");
    if body.is_empty() {
        html.push_str("<p>Nothing yet.</p>\n</section>\n");
        return;
    }
    let head = head.iter().map(|cell| format!("<th scope=\"col\">{cell}</th>"));
    let head: String = head.collect();
    _ = writeln!(
        html,
        "<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    );
    html.push_str("</section>\n");
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char if char.is_control() => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rate(count: u64, secs: u64) -> String {
    let tenths = count.saturating_mul(10) / secs.max(1);
    format!("{}.{}", thousands(tenths / 10), tenths % 10)
}

fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        86_400.. => format!("{} days {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        let mut html = String::new();
        let name = "<script>alert('x')</script>&\"\u{1b}".to_owned();
        table(&mut html, "T", &["", "A"], std::iter::once(vec![name, "1".to_owned()]));
        assert!(
            !html.contains("<script") && !html.contains('\u{1b}') && html.contains("&lt;script")
        );
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((rate(25, 10), rate(5, 0)), ("2.5".to_owned(), "5.0".to_owned()));
        assert_eq!(duration(90_000), "1 days 1 h");
    }
}
