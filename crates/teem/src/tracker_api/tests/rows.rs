//! Every row of the table of routes, asked with every kind of caller.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use tracker::{NewToken, Scope};

use super::super::table::{At, Needs, ROUTES, Route};
use super::{Server, hash_of, start, start_with, torrent};

const OWN_SECRET: &str = "Authorization: Bearer a-secret-of-my-own\r\n";
/// What no token looks like.
const BAD: [&str; 3] = [
    "Authorization: Bearer short\r\n",
    // "a:b"
    "Authorization: Basic YTpi\r\n",
    "Authorization: Bearer\r\n",
];

async fn status(server: &Server, at: At, method: &str, path: &str, headers: &str) -> u16 {
    let addr = if at == At::Admin { server.admin } else { server.addr };
    let hash = hash_of(&torrent(1)).to_string();
    let path = path.replace("{name}", "big").replace("{hash}", &hash);
    let headers = format!("Host: localhost\r\n{headers}");
    server.ask(addr, (method, &path), &headers, b"").await.status
}

fn places(route: &Route) -> Vec<At> {
    match route.at {
        At::Both => vec![At::Public, At::Admin],
        at @ (At::Public | At::Admin) => vec![at],
    }
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    server.send("PUT", "/api/v1/catalogue/big", &torrent(1)).await;
    for route in ROUTES {
        for at in places(route) {
            let ask = |headers| status(&server, at, route.method, route.path, headers);
            let name = format!("{} {} at {at:?}", route.method, route.path);
            // An open tracker denies nobody for having no token, or one of their own.
            for headers in ["", OWN_SECRET] {
                let status = ask(headers).await;
                // The name that is to be taken back is somebody else's.
                let not_theirs = route.method == "DELETE" && status == 403;
                assert!(not_theirs || ![401, 403, 404, 405].contains(&status), "{name}: {status}");
            }
            let reads_tokens = match route.needs {
                Needs::Nothing | Needs::Announce => false,
                Needs::Read | Needs::Publish | Needs::Admin => true,
            };
            for headers in BAD {
                assert_eq!(ask(headers).await == 401, reads_tokens, "{name} with {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_route_answers_at_its_own_addresses_and_methods_only() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    server.send("PUT", "/api/v1/catalogue/big", &torrent(1)).await;
    for route in ROUTES {
        for at in [At::Public, At::Admin] {
            for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
                let rows = |method: &str| {
                    let here = ROUTES.iter().filter(|other| places(other).contains(&at));
                    here.filter(|other| other.path == route.path)
                        .any(|other| method.is_empty() || other.method == method)
                };
                let status = status(&server, at, method, route.path, "").await;
                let name = format!("{method} {} at {at:?}: {status}", route.path);
                match (rows(""), rows(method)) {
                    (false, _) => assert_eq!(status, 404, "{name}"),
                    (true, false) => assert_eq!(status, 405, "{name}"),
                    (true, true) => assert_ne!(status, 405, "{name}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn the_operators_port_knows_its_names() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    for (headers, expected) in [
        ("Host: localhost\r\n", 200),
        ("Host: 127.0.0.1:1\r\n", 200),
        ("Host: rebound.example\r\n", 403),
        ("Host: localhost\r\nOrigin: http://elsewhere.example\r\n", 403),
        ("", 403),
    ] {
        let reply = server.ask(server.admin, ("GET", "/metrics"), headers, b"").await;
        assert_eq!(reply.status, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn browsers_show_a_token_as_password_to_the_operators_port_only() {
    let folder = TempDir::new().unwrap();
    let server = start_with(&folder, "127.0.0.1:0", true).await;
    let mut answers = Vec::new();
    for (_, header) in tokens(&server) {
        let secret = header.trim_end().trim_start_matches("Authorization: Bearer ");
        let coded = BASE64_STANDARD.encode(format!("anybody:{secret}"));
        let headers = format!("Host: localhost\r\nAuthorization: Basic {coded}\r\n");
        server.tracker.shared().access.refresh().expect("the tokens are read");
        let page = server.ask(server.admin, ("GET", "/"), &headers, b"").await.status;
        let public = server.ask(server.addr, ("GET", "/api/v1/catalogue"), &headers, b"").await;
        let foreign = format!("{headers}Origin: http://elsewhere.example\r\n");
        let foreign = server.ask(server.admin, ("DELETE", "/api/v1/tokens/1"), &foreign, b"").await;
        answers.push((page, public.status, foreign.status));
    }
    assert_eq!(answers, [(403, 401, 403), (403, 401, 403), (200, 401, 403)]);
    let asked = server.ask(server.admin, ("GET", "/"), "Host: localhost\r\n", b"").await;
    assert_eq!((asked.status, asked.head.contains("www-authenticate: Basic ")), (401, true));
}

/// A token of each scope, and the header that carries it.
fn tokens(server: &Server) -> Vec<(Scope, String)> {
    let store = server.tracker.shared().access.tokens().expect("the tracker is private");
    let of_scope = |scope: Scope| {
        let new =
            NewToken { name: format!("{scope:?}"), note: String::new(), scope, life_secs: None };
        let (_, secret) = store.create(&new, 0).expect("the token is made");
        (scope, format!("Authorization: Bearer {}\r\n", secret.reveal()))
    };
    [Scope::Read, Scope::Publish, Scope::Admin].map(of_scope).into()
}

#[tokio::test]
async fn every_route_of_a_private_tracker_wants_a_token_of_its_scope() {
    let folder = TempDir::new().unwrap();
    let server = start_with(&folder, "127.0.0.1:0", true).await;
    let tokens = tokens(&server);
    server.tracker.shared().access.refresh().expect("the tokens are read");
    let mut callers = vec![(None, String::new()), (None, OWN_SECRET.to_owned())];
    callers.extend(BAD.map(|header| (None, header.to_owned())));
    callers.extend(tokens.into_iter().map(|(scope, header)| (Some(scope), header)));
    for route in ROUTES {
        let needed = match route.needs {
            Needs::Nothing | Needs::Announce => None,
            Needs::Read => Some(Scope::Read),
            Needs::Publish => Some(Scope::Publish),
            Needs::Admin => Some(Scope::Admin),
        };
        for at in places(route) {
            for (scope, headers) in &callers {
                let status = status(&server, at, route.method, route.path, headers).await;
                let name = format!("{} {} for {scope:?}: {status}", route.method, route.path);
                match (needed, scope) {
                    (Some(_), None) => assert_eq!(status, 401, "{name}"),
                    (Some(needed), Some(scope)) if *scope < needed => {
                        assert_eq!(status, 403, "{name}");
                    }
                    (Some(_), Some(_)) => assert!(![401, 403].contains(&status), "{name}"),
                    (None, _) => assert_eq!(status, 200, "{name}"),
                }
            }
        }
    }
    for path in ["/announce", "/scrape"] {
        let reply = server.get(path).await;
        assert!(reply.body.starts_with(b"d14:failure reason"), "{path} wants a passkey");
    }
}
