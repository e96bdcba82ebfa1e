//! What the APIs for programs share: their OpenAPI documents as text, and the tests that hold each of them
//! against its routes and against its snapshot in the source tree.

use utoipa::openapi::OpenApi;

/// The document as text; the same in every run, and in every release that changes no route.
pub(crate) fn text(mut document: OpenApi) -> String {
    document.info.version = "1".to_owned();
    let text = document.to_pretty_json().expect("it has string keys and plain values only");
    format!("{text}\n")
}

/// Each route is described, and nothing else is.
#[cfg(test)]
pub(crate) fn assert_describes<'a>(
    document: &str,
    routes: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    use std::collections::BTreeSet;
    let document: serde_json::Value = serde_json::from_str(document).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routes = routes.into_iter().map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(
        described,
        routes.collect(),
        "`openapi` describes the left ones, `table` has the right ones"
    );
}

/// The document is as its snapshot says, a file beside the crate's manifest.
#[cfg(test)]
pub(crate) fn assert_as_kept(document: &str, snapshot: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(snapshot);
    if std::env::var_os("TEEM_UPDATE").is_some() {
        std::fs::write(&path, document).expect("the snapshot can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == document,
        "{snapshot}: the API changed. If that is meant: TEEM_UPDATE=1 cargo test -p teem openapi"
    );
}
