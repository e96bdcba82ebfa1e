use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode};
use node::Outcome;
use node::http::{self, Limits};
use tokio::sync::mpsc;
use tracker::Secret;

use super::table::{Needs, ROUTES};
use super::*;
use crate::daemon::{Answer, Asked, DeskError, Wish};

/// A server whose daemon does everything, and ends when it is asked what it has: so that no stream of events is
/// endless.
async fn started(secret: &Secret) -> (std::net::SocketAddr, impl Sized) {
    let (daemon, mut asked) = mpsc::channel::<Asked>(1);
    let answering = tokio::spawn(async move {
        while let Some(Asked { wish, answer }) = asked.recv().await {
            let _ = answer.send(match wish {
                Wish::List => Err(DeskError::Closed),
                Wish::Show(_) | Wish::Place(..) | Wish::Do(..) => {
                    Ok(Answer::Done(Outcome::default()))
                }
            });
        }
    });
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let addr = server.addr();
    (addr, (server.serve(secret.digest(), daemon), Arc::new(answering)))
}

async fn status(
    addr: std::net::SocketAddr,
    (method, path): (&str, &str),
    headers: &[(HeaderName, &str)],
) -> StatusCode {
    let url = format!("http://{addr}{}", path.replace("{id}", &"ab".repeat(20)));
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        sent.insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    let method: Method = method.parse().expect("a method");
    let url = url.parse().expect("a URL");
    let reply = http::request_with(method, &url, sent, Bytes::new(), &Limits::default()).await;
    reply.expect("a reply").status
}

#[tokio::test]
async fn nobody_gets_anything_without_the_token_or_from_elsewhere() {
    let secret = Secret::new([7; 32]);
    let (addr, _server) = started(&secret).await;
    let good = format!("Bearer {}", secret.reveal());
    let auth = hyper::header::AUTHORIZATION;
    for route in ROUTES {
        let what = (route.method, route.path);
        let other = format!("Bearer {}", Secret::new([8; 32]).reveal());
        for bad in [&[][..], &[(auth.clone(), "Bearer x")], &[(auth.clone(), other.as_str())]] {
            let expected = match route.needs {
                Needs::Nothing => StatusCode::OK,
                Needs::Token => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(status(addr, what, bad).await, expected, "{what:?} {bad:?}");
        }
        let own = format!("http://{addr}");
        for (strange, name) in [
            ("evil.example", HOST),
            ("http://evil.example", ORIGIN),
            ("null", ORIGIN),
            ("http://127.0.0.1:1", ORIGIN),
        ] {
            let headers = [(auth.clone(), good.as_str()), (name, strange)];
            assert_eq!(status(addr, what, &headers).await, StatusCode::FORBIDDEN, "{what:?}");
        }
        let headers = [(auth.clone(), good.as_str()), (ORIGIN, own.as_str())];
        let answered = status(addr, what, &headers).await;
        assert!(!matches!(answered.as_u16(), 401 | 403 | 405), "{what:?} {answered}");
    }
    assert_eq!(status(addr, ("GET", "/"), &[]).await, StatusCode::NOT_FOUND);
    let headers = [(auth, good.as_str())];
    let put = status(addr, ("PUT", "/api/v1/transfers"), &headers).await;
    assert_eq!(put, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    assert!(Server::bind(([0, 0, 0, 0], 0).into()).await.is_err());
}
