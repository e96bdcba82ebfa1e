//! The catalogue's rules, on a database in a temporary folder.

use proto::bencode::DictEncoder;
use tempfile::TempDir;

use super::*;

/// A v1 torrent of one file; another `fill` is other content.
fn torrent(name: &str, fill: u8) -> Vec<u8> {
    let mut info = DictEncoder::new();
    info.bytes(b"name", name.as_bytes());
    info.int(b"length", 30_000);
    info.int(b"piece length", 16_384);
    info.bytes(b"pieces", &[fill; 40]);
    let mut root = DictEncoder::new();
    root.dict(b"info", &info);
    root.finish()
}

fn open() -> (TempDir, Catalogue) {
    let folder = TempDir::new().unwrap();
    let catalogue = Catalogue::open(folder.path()).unwrap();
    (folder, catalogue)
}

async fn names(catalogue: &Catalogue, pattern: &str, after: Option<&str>, limit: usize) -> String {
    let after = after.map(str::to_owned);
    let (entries, more) = catalogue.list(pattern, after, limit).await.unwrap();
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    format!("{}{}", names.join(" "), if more { " …" } else { "" })
}

#[tokio::test]
async fn name_has_one_content() {
    let (_folder, catalogue) = open();
    let first = catalogue.publish("big", torrent("a", 1), "127.0.0.1").await.unwrap();
    let Published::Created(entry) = &first else { panic!("{first:?}") };
    assert_eq!((entry.size, entry.files, entry.piece_len), (30_000, 1, 16_384));
    let again = catalogue.publish("big", torrent("a", 1), "127.0.0.1").await.unwrap();
    assert!(matches!(again, Published::Same(_)));
    let other = catalogue.publish("big", torrent("a", 2), "127.0.0.1").await.unwrap_err();
    let text = other.to_string();
    let CatalogueError::NameTaken(taken) = other else { panic!("{other:?}") };
    for hashes in [&taken.existing, &taken.offered] {
        assert!(text.contains(&hashes.v1().unwrap().to_string()), "{text}");
    }
    assert_ne!(taken.existing, taken.offered);
    // Another name may have the same content.
    assert!(catalogue.publish("same", torrent("a", 1), "127.0.0.1").await.is_ok());
    let by_hash = Which::Hash(entry.hashes.primary());
    assert_eq!(catalogue.find(by_hash).await.unwrap().unwrap().name, "big", "the first one");
    assert_eq!(catalogue.count().await.unwrap(), 2);
}

#[tokio::test]
async fn only_valid_torrents_and_names_come_in() {
    let (_folder, catalogue) = open();
    let refused = |name: &'static str, bytes: Vec<u8>| {
        let catalogue = catalogue.clone();
        async move { catalogue.publish(name, bytes, "").await.unwrap_err() }
    };
    assert!(matches!(refused("x", b"d4:infoe".to_vec()).await, CatalogueError::Metainfo(_)));
    assert!(matches!(refused("../x", torrent("a", 1)).await, CatalogueError::Name(_)));
    let long = vec![0; METAINFO_LEN_MAX + 1];
    assert!(matches!(refused("x", long).await, CatalogueError::TooLong));
    assert_eq!(catalogue.count().await.unwrap(), 0);
}

#[tokio::test]
async fn search_finds_parts_of_names_page_by_page() {
    let (_folder, catalogue) = open();
    for (fill, name) in ["beta.iso", "alpha.iso", "Gamma.ISO", "notes.txt"].iter().enumerate() {
        catalogue.publish(name, torrent(name, fill as u8), "").await.unwrap();
    }
    assert_eq!(names(&catalogue, "", None, 10).await, "Gamma.ISO alpha.iso beta.iso notes.txt");
    assert_eq!(names(&catalogue, "iso", None, 2).await, "Gamma.ISO alpha.iso …");
    assert_eq!(names(&catalogue, "iso", Some("alpha.iso"), 2).await, "beta.iso");
    assert_eq!(names(&catalogue, "*a.iso", None, 10).await, "Gamma.ISO alpha.iso beta.iso");
    assert_eq!(names(&catalogue, "%", None, 10).await, "");
}

#[tokio::test]
async fn restart_keeps_everything() {
    let (folder, catalogue) = open();
    let published = catalogue.publish("big", torrent("a", 1), "").await.unwrap();
    drop(catalogue);
    let catalogue = Catalogue::open(folder.path()).unwrap();
    let found = catalogue.fetch(Which::Name("big".to_owned())).await.unwrap().unwrap();
    assert_eq!(&found.entry, published.entry());
    assert_eq!(found.metainfo, torrent("a", 1));
    assert_eq!(catalogue.all_hashes().unwrap(), [found.entry.hashes]);
}

#[test]
fn folder_belongs_to_one_tracker() {
    let (folder, _catalogue) = open();
    let refused = Catalogue::open(folder.path()).unwrap_err();
    assert!(matches!(refused, CatalogueError::Locked(_)), "{refused:?}");
}

#[test]
fn damaged_foreign_and_newer_databases_are_refused_in_words() {
    let check = |prepare: &dyn Fn(&Path), expected: &str| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tracker.db");
        prepare(&path);
        let refused = Catalogue::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(expected) && refused.contains("tracker.db"), "{refused}");
        assert!(path.exists(), "left as it was");
    };
    check(&|path| std::fs::write(path, vec![7; 9_000]).unwrap(), "damaged");
    let sql = |path: &Path, sql: &str| {
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    };
    check(&|path| sql(path, "CREATE TABLE other (x)"), "another program");
    check(
        &|path| {
            drop(Catalogue::open(path.parent().unwrap()).unwrap());
            sql(path, "PRAGMA user_version = 99");
        },
        "newer version",
    );
    check(
        &|path| {
            drop(Catalogue::open(path.parent().unwrap()).unwrap());
            // The second page is the first table's.
            let mut bytes = std::fs::read(path).unwrap();
            bytes[4_096..8_192].fill(0xee);
            std::fs::write(path, bytes).unwrap();
        },
        "damaged",
    );
}
