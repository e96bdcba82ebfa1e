//! The catalogue's rules, on a database in a temporary folder.

use proto::bencode::{DictEncoder, ListEncoder};
use tempfile::TempDir;

use super::*;
use crate::access::{Access, Secret};
use crate::limits::VERSIONS_PER_NAME_MAX;

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

/// A v1 torrent of a folder with files of one byte.
fn folder_of(paths: &[&str]) -> Vec<u8> {
    let mut files = ListEncoder::new();
    for path in paths {
        let mut parts = ListEncoder::new();
        for part in path.split('/') {
            parts.bytes(part.as_bytes());
        }
        let mut file = DictEncoder::new();
        file.int(b"length", 1).list(b"path", parts);
        files.raw(&file.finish());
    }
    let mut info = DictEncoder::new();
    info.list(b"files", files).bytes(b"name", b"folder");
    info.int(b"piece length", 16_384).bytes(b"pieces", &[1; 20]);
    let mut root = DictEncoder::new();
    root.dict(b"info", &info);
    root.finish()
}

fn open() -> (TempDir, Catalogue) {
    open_with(CatalogueLimits::default())
}

fn open_with(limits: CatalogueLimits) -> (TempDir, Catalogue) {
    let folder = TempDir::new().unwrap();
    let catalogue = Catalogue::open(folder.path(), limits).unwrap();
    (folder, catalogue)
}

/// Somebody with a secret of their own, or without any, on an open tracker.
fn who(secret: Option<u8>) -> Publisher {
    let secret = secret.map(|byte| Secret::new([byte; 32]));
    let caller = Access::open().caller(secret.as_ref()).unwrap();
    Publisher::new(&caller, [192, 0, 2, 1].into())
}

fn admin() -> Publisher {
    let caller = Access::open().caller(None).unwrap();
    Publisher::new(&Caller { scope: Scope::Admin, ..caller }, [127, 0, 0, 1].into())
}

async fn publish(
    catalogue: &Catalogue,
    (name, metainfo): (&str, Vec<u8>),
    publisher: Publisher,
) -> Result<Published, CatalogueError> {
    let about = About::default();
    let publication = Publication { name: name.to_owned(), metainfo, about, publisher };
    catalogue.publish(publication, |_| {}).await
}

async fn withdraw(
    catalogue: &Catalogue,
    name: &str,
    publisher: Publisher,
) -> Result<Option<Vec<u32>>, CatalogueError> {
    let withdrawn = catalogue.withdraw(name.to_owned(), publisher, |_| {}).await?;
    Ok(withdrawn.map(|withdrawn| withdrawn.versions))
}

async fn version(catalogue: &Catalogue, name: &str) -> Option<(u32, u32)> {
    let found = catalogue.find(Which::Name(name.to_owned())).await.unwrap();
    found.map(|entry| (entry.version, entry.versions))
}

async fn names(catalogue: &Catalogue, pattern: &str, after: Option<&str>, limit: usize) -> String {
    let after = after.map(str::to_owned);
    let (entries, more) = catalogue.list(pattern, after, limit).await.unwrap();
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    format!("{}{}", names.join(" "), if more { " …" } else { "" })
}

async fn found(catalogue: &Catalogue, text: &str) -> Vec<(String, Option<String>)> {
    let (hits, _) = catalogue.search(text, None, 100).await.unwrap();
    hits.into_iter().map(|hit| (hit.entry.name, hit.path)).collect()
}

#[tokio::test]
async fn same_content_is_the_same_version_for_everybody() {
    let (_folder, catalogue) = open();
    let first = publish(&catalogue, ("big", torrent("a", 1)), who(Some(1))).await.unwrap();
    let Published::Created(entry) = &first else { panic!("{first:?}") };
    assert_eq!((entry.size, entry.files, entry.piece_len), (30_000, 1, 16_384));
    assert_eq!((entry.version, entry.versions), (1, 1));
    for other in [Some(1), Some(2), None] {
        let again = publish(&catalogue, ("big", torrent("a", 1)), who(other)).await.unwrap();
        assert!(matches!(again, Published::Same(_)), "{again:?}");
    }
    // Another name may have the same content.
    assert!(publish(&catalogue, ("same", torrent("a", 1)), who(None)).await.is_ok());
    let by_hash = Which::Hash(entry.hashes.primary());
    assert_eq!(catalogue.find(by_hash).await.unwrap().unwrap().name, "big", "the first one");
    assert_eq!(catalogue.count().await.unwrap(), 2);
}

#[tokio::test]
async fn other_content_is_the_next_version_for_the_owner_only() {
    let (_folder, catalogue) = open();
    publish(&catalogue, ("big", torrent("a", 1)), who(Some(1))).await.unwrap();
    for stranger in [Some(2), None] {
        let other = publish(&catalogue, ("big", torrent("a", 2)), who(stranger)).await.unwrap_err();
        let text = other.to_string();
        let CatalogueError::NameTaken(taken) = other else { panic!("{other:?}") };
        for hashes in [&taken.existing, &taken.offered] {
            assert!(text.contains(&hashes.v1().unwrap().to_string()), "{text}");
        }
        assert_ne!(taken.existing, taken.offered);
    }
    let second = publish(&catalogue, ("big", torrent("a", 2)), who(Some(1))).await.unwrap();
    assert!(matches!(&second, Published::Updated(entry) if entry.version == 2), "{second:?}");
    let old = publish(&catalogue, ("big", torrent("a", 1)), who(None)).await.unwrap();
    assert!(matches!(&old, Published::Same(entry) if entry.version == 1), "{old:?}");
    assert!(publish(&catalogue, ("big", torrent("a", 3)), admin()).await.is_ok());
    for (name, expected) in [
        ("big", Some((3, 3))),
        ("big@latest", Some((3, 3))),
        ("big@1", Some((1, 3))),
        ("big@4", None),
        ("big@0", None),
        ("small@1", None),
    ] {
        assert_eq!(version(&catalogue, name).await, expected, "{name}");
    }
    let all = catalogue.versions("big".to_owned()).await.unwrap();
    assert_eq!(all.iter().map(|entry| entry.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(names(&catalogue, "", None, 10).await, "big");
    let inside = catalogue.files(vec!["big@2".to_owned(), "big@9".to_owned()]).await.unwrap();
    assert_eq!(inside[0].as_ref().map(|file| file.entry.version), Some(2));
    assert!(inside[1].is_none());
}

#[tokio::test]
async fn each_version_of_a_folder_has_its_own_files() {
    let (_folder, catalogue) = open();
    publish(&catalogue, ("dir", folder_of(&["a"])), who(Some(1))).await.unwrap();
    publish(&catalogue, ("dir", folder_of(&["b"])), who(Some(1))).await.unwrap();
    let names = ["dir@1/a", "dir@1/b", "dir/a", "dir/b", "dir@2/b", "dir@3/b"];
    let files = catalogue.files(names.map(str::to_owned).to_vec()).await.unwrap();
    let versions = files.iter().map(|file| file.as_ref().map(|file| file.entry.version));
    assert!(versions.eq([Some(1), None, None, Some(2), Some(2), None]));
}

#[tokio::test]
async fn files_are_known_as_soon_as_they_change() {
    let (_folder, catalogue) = open();
    let version = async || {
        let known = catalogue.files(vec!["big".to_owned()]).await.unwrap();
        let again = catalogue.files(vec!["big".to_owned()]).await.unwrap();
        assert_eq!(known, again);
        known[0].as_ref().map(|file| file.entry.version)
    };
    assert_eq!(version().await, None);
    for (fill, number) in [(1, 1), (2, 2)] {
        publish(&catalogue, ("big", torrent("a", fill)), who(Some(1))).await.unwrap();
        assert_eq!(version().await, Some(number));
    }
    withdraw(&catalogue, "big@2", who(Some(1))).await.unwrap();
    assert_eq!(version().await, Some(1));
    withdraw(&catalogue, "big", who(Some(1))).await.unwrap();
    assert_eq!(version().await, None);
}

#[tokio::test]
async fn what_nobody_owns_only_an_administrator_changes() {
    let (_folder, catalogue) = open();
    publish(&catalogue, ("big", torrent("a", 1)), who(None)).await.unwrap();
    for stranger in [None, Some(1)] {
        let other = publish(&catalogue, ("big", torrent("a", 2)), who(stranger)).await;
        assert!(matches!(other, Err(CatalogueError::NameTaken(_))), "{other:?}");
        let gone = withdraw(&catalogue, "big", who(stranger)).await;
        assert!(matches!(gone, Err(CatalogueError::NotOwner(_))), "{gone:?}");
    }
    assert_eq!(withdraw(&catalogue, "big", admin()).await.unwrap(), Some(vec![1]));
}

#[tokio::test]
async fn versions_and_names_are_taken_back() {
    let (_folder, catalogue) = open();
    for fill in 1..=3 {
        publish(&catalogue, ("big", torrent("a", fill)), who(Some(1))).await.unwrap();
    }
    publish(&catalogue, ("other", torrent("a", 3)), who(Some(2))).await.unwrap();
    let gone = Arc::new(parking_lot::Mutex::new(0));
    let told = Arc::clone(&gone);
    let tell = move |changes: &Changes| *told.lock() = changes.gone.len();
    catalogue.withdraw("big@3".to_owned(), who(Some(1)), tell).await.unwrap().unwrap();
    assert_eq!(*gone.lock(), 0, "another name has the same content");
    assert_eq!(version(&catalogue, "big").await, Some((2, 2)));
    let next = publish(&catalogue, ("big", torrent("a", 4)), who(Some(1))).await.unwrap();
    assert_eq!(next.entry().version, 4, "a number is not given twice");
    assert_eq!(withdraw(&catalogue, "big@3", who(Some(1))).await.unwrap(), None);
    assert_eq!(withdraw(&catalogue, "big", who(Some(1))).await.unwrap(), Some(vec![1, 2, 4]));
    assert_eq!(withdraw(&catalogue, "big", who(Some(1))).await.unwrap(), None);
    assert_eq!(found(&catalogue, "big").await, []);
    // The name is free.
    let again = publish(&catalogue, ("big", torrent("a", 9)), who(Some(2))).await.unwrap();
    assert!(matches!(&again, Published::Created(entry) if entry.version == 1));
    withdraw(&catalogue, "big@1", who(Some(2))).await.unwrap();
    withdraw(&catalogue, "other", who(Some(2))).await.unwrap();
    assert_eq!(catalogue.stored().await.unwrap(), Stored::default());
}

#[tokio::test]
async fn oldest_version_makes_room_for_the_next() {
    let (_folder, catalogue) = open();
    for fill in 0..=VERSIONS_PER_NAME_MAX {
        publish(&catalogue, ("big", torrent("a", fill as u8)), who(Some(1))).await.unwrap();
    }
    let kept = (VERSIONS_PER_NAME_MAX + 1, VERSIONS_PER_NAME_MAX);
    assert_eq!(version(&catalogue, "big").await, Some(kept));
    assert_eq!(version(&catalogue, "big@1").await, None);
    assert_eq!(version(&catalogue, "big@2").await, Some((2, VERSIONS_PER_NAME_MAX)));
    assert_eq!(catalogue.registered().unwrap().len(), VERSIONS_PER_NAME_MAX as usize);
}

#[tokio::test]
async fn no_stranger_fills_the_catalogue() {
    let len = torrent("a", 1).len() as u64 + 8;
    let limits = CatalogueLimits { bytes_max: 100 * len, share_percent: 2 };
    let (_folder, catalogue) = open_with(limits);
    for fill in 1..=2 {
        let name = format!("name {fill}");
        publish(&catalogue, (&name, torrent("a", fill)), who(Some(fill))).await.unwrap();
    }
    // Neither a new secret nor none helps: the network is the same.
    for secret in [Some(1), Some(9), None] {
        let refused = publish(&catalogue, ("more", torrent("a", 3)), who(secret)).await;
        assert!(matches!(refused, Err(CatalogueError::Full(Full::Share(2)))), "{refused:?}");
    }
    let elsewhere = Access::open().caller(None).unwrap();
    let elsewhere = Publisher::new(&elsewhere, [198, 51, 100, 1].into());
    assert!(publish(&catalogue, ("more", torrent("a", 3)), elsewhere).await.is_ok());
    withdraw(&catalogue, "name 1", who(Some(1))).await.unwrap();
    assert!(publish(&catalogue, ("name 3", torrent("a", 3)), who(None)).await.is_ok());
}

#[tokio::test]
async fn full_catalogue_says_so() {
    let limits = CatalogueLimits { bytes_max: 1_000, share_percent: 100 };
    let (_folder, catalogue) = open_with(limits);
    let mut last = Ok(());
    for fill in 0..20 {
        let name = format!("name {fill}");
        let published = publish(&catalogue, (&name, torrent("a", fill)), who(None)).await;
        last = published.map(|_| ());
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(CatalogueError::Full(Full::Bytes(1_000)))), "{last:?}");
    let stored = catalogue.stored().await.unwrap();
    assert!((2..20).contains(&stored.names) && stored.bytes <= 1_000, "{stored:?}");
}

#[tokio::test]
async fn only_valid_torrents_and_names_come_in() {
    let (_folder, catalogue) = open();
    let refused = |name: &'static str, bytes: Vec<u8>| {
        let catalogue = catalogue.clone();
        async move { publish(&catalogue, (name, bytes), who(None)).await.unwrap_err() }
    };
    assert!(matches!(refused("x", b"d4:infoe".to_vec()).await, CatalogueError::Metainfo(_)));
    assert!(matches!(refused("../x", torrent("a", 1)).await, CatalogueError::Name(_)));
    assert!(matches!(refused("x@2", torrent("a", 1)).await, CatalogueError::Name(_)));
    let long = vec![0; METAINFO_LEN_MAX + 1];
    assert!(matches!(refused("x", long).await, CatalogueError::TooLong));
    assert_eq!(catalogue.count().await.unwrap(), 0);
}

#[tokio::test]
async fn list_finds_parts_of_names_page_by_page() {
    let (_folder, catalogue) = open();
    for (fill, name) in ["beta.iso", "alpha.iso", "Gamma.ISO", "notes.txt"].iter().enumerate() {
        publish(&catalogue, (name, torrent(name, fill as u8)), who(None)).await.unwrap();
    }
    assert_eq!(names(&catalogue, "", None, 10).await, "Gamma.ISO alpha.iso beta.iso notes.txt");
    assert_eq!(names(&catalogue, "iso", None, 2).await, "Gamma.ISO alpha.iso …");
    assert_eq!(names(&catalogue, "iso", Some("alpha.iso"), 2).await, "beta.iso");
    assert_eq!(names(&catalogue, "*a.iso", None, 10).await, "Gamma.ISO alpha.iso beta.iso");
    assert_eq!(names(&catalogue, "s.", None, 10).await, "notes.txt");
    assert_eq!(names(&catalogue, "%", None, 10).await, "");
}

#[tokio::test]
async fn search_looks_everywhere_and_says_which_path_it_was() {
    let (_folder, catalogue) = open();
    let about = |description: &str, tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        About::new(Some(description.to_owned()), Some(tags)).unwrap()
    };
    let say = |about: About, publisher: Publisher| Publication {
        name: "photos".to_owned(),
        metainfo: folder_of(&["2019/Lake/one.jpg", "2020/Größe.png"]),
        about,
        publisher,
    };
    let publication = say(about("Our holidays", &["Family"]), who(Some(1)));
    catalogue.publish(publication, |_| {}).await.unwrap();
    publish(&catalogue, ("lake.iso", torrent("x", 1)), who(None)).await.unwrap();
    let photos = |path: Option<&str>| vec![("photos".to_owned(), path.map(str::to_owned))];
    assert_eq!(found(&catalogue, "HOLI").await, photos(None));
    assert_eq!(found(&catalogue, "family").await, photos(None));
    assert_eq!(found(&catalogue, "fa").await, photos(None), "short: names and tags");
    assert_eq!(found(&catalogue, "größe").await, photos(Some("2020/Größe.png")));
    assert_eq!(found(&catalogue, "one.jpg family").await, photos(Some("2019/Lake/one.jpg")));
    assert_eq!(found(&catalogue, "one.jpg of").await, photos(Some("2019/Lake/one.jpg")));
    assert_eq!(found(&catalogue, "one.jpg xxx").await, []);
    assert_eq!(found(&catalogue, "jpg iso").await, []);
    assert_eq!(found(&catalogue, "lake").await.len(), 2);
    assert_eq!(found(&catalogue, "la*").await, [("lake.iso".to_owned(), None)], "whole names");
    assert_eq!(found(&catalogue, "2019 AND nothing").await, [], "no query language");
    assert_eq!(found(&catalogue, "\"one").await, []);

    // Only the owner says something else, and the index follows.
    let refused = catalogue.publish(say(about("Spam", &[]), who(Some(2))), |_| {}).await;
    assert!(matches!(refused, Err(CatalogueError::NotOwner(_))), "{refused:?}");
    let same = catalogue.publish(say(about("Lent", &[""]), who(Some(1))), |_| {}).await.unwrap();
    assert_eq!((same.entry().description.as_str(), same.entry().tags.len()), ("Lent", 0));
    assert_eq!(found(&catalogue, "holi").await, []);
    assert_eq!(found(&catalogue, "fa").await, []);
    assert_eq!(found(&catalogue, "lent größe").await.len(), 1);
    // The paths are those of the latest version.
    publish(&catalogue, ("photos", folder_of(&["new.png"])), who(Some(1))).await.unwrap();
    assert_eq!(found(&catalogue, "größe").await, []);
    assert_eq!(found(&catalogue, "new.png").await, photos(Some("new.png")));
    withdraw(&catalogue, "photos@2", who(Some(1))).await.unwrap();
    assert_eq!(found(&catalogue, "größe").await.len(), 1);
}

#[tokio::test]
async fn many_matches_are_paged_in_the_order_of_names() {
    use crate::limits::MATCHES_SORTED_MAX;
    let (_folder, catalogue) = open();
    fill(&catalogue, MATCHES_SORTED_MAX + 10);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (hits, more) = catalogue.search("number", after, 1_000).await.unwrap();
        seen.extend(hits.into_iter().map(|hit| hit.entry.name));
        after = seen.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(seen.len(), MATCHES_SORTED_MAX + 10);
    assert!(seen.is_sorted());
    assert_eq!(found(&catalogue, "number part-17.").await.len(), 1);
}

/// Adds names with everything that a publication adds but its torrent file.
fn fill(catalogue: &Catalogue, count: usize) {
    let writer = catalogue.store.writer.lock();
    let connection = writer.unchecked_transaction().unwrap();
    let insert_name = "INSERT INTO name (id, name, folded, source, latest, versions, last)
                       VALUES (?1, ?2, ?3, '', ?1, 1, 1)";
    let insert_entry = "INSERT INTO entry (id, name_id, version, v1, size, files, piece_len,
                        published, published_by, bytes) VALUES (?1, ?1, 1, ?2, 1, 1, 1, 1, '', 1)";
    let mut insert_name = connection.prepare(insert_name).unwrap();
    let mut insert_entry = connection.prepare(insert_entry).unwrap();
    for id in 1..=count as i64 {
        let name = format!("number {id} of team-{}/model-{:x}.bin", id % 97, id * 7_919);
        let paths = format!("data/{:x}/part-{id}.tar\nREADME.md\nlicence.txt", id * 104_729);
        let text = index::Text { name: &name, tags: "blue", description: "A", paths: &paths };
        insert_name.execute(rusqlite::params![id, name, text.folded()]).unwrap();
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&id.to_be_bytes());
        insert_entry.execute(rusqlite::params![id, hash]).unwrap();
        index::put(&connection, id, &text).unwrap();
    }
    drop((insert_name, insert_entry));
    connection.commit().unwrap();
}

/// `cargo test --release -p teem-tracker --lib search_times -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, for people"]
async fn search_times_with_a_hundred_thousand_names() {
    let (_folder, catalogue) = open();
    fill(&catalogue, 100_000);
    for text in [
        "",
        "model",
        "model-1ab.bin",
        "part-4711.tar",
        "readme",
        "team-5 bin",
        "zz",
        "4",
        "*-9.bin",
        "nothing here",
        "of team-5/ model licence",
    ] {
        let mut times = Vec::new();
        let mut count = 0;
        for _ in 0..9 {
            let begun = Instant::now();
            count = catalogue.search(text, None, 100).await.unwrap().0.len();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{text:28} {count:4} of a page  median {:7.2} ms  worst {:7.2} ms",
            times[4], times[8]
        );
    }
}

#[tokio::test]
async fn restart_keeps_everything() {
    let (folder, catalogue) = open();
    let published = publish(&catalogue, ("big", torrent("a", 1)), who(Some(1))).await.unwrap();
    let hashes = published.entry().hashes;
    catalogue.note_completed(vec![(hashes.primary(), 7), (InfoHash([9; 20]), 1)]).await.unwrap();
    drop(catalogue);
    let catalogue = Catalogue::open(folder.path(), CatalogueLimits::default()).unwrap();
    let found = catalogue.fetch(Which::Name("big".to_owned())).await.unwrap().unwrap();
    assert_eq!(&found.entry, published.entry());
    assert_eq!(found.metainfo, torrent("a", 1));
    assert_eq!(catalogue.registered().unwrap(), [(hashes, 7)]);
}

#[tokio::test]
async fn database_of_the_first_schema_is_brought_up_to_date() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tracker.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(schema::FIRST).unwrap();
    connection.pragma_update(None, "application_id", 0x5465_656d).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let (mine, nobodys) = (torrent("a", 1), folder_of(&["Deep/one.jpg"]));
    let key = who(Some(1)).by;
    for (id, name, bytes, by) in
        [(4, "mine", &mine, key.as_str()), (9, "No Body's@2", &nobodys, "192.0.2.5")]
    {
        let info = Metainfo::decode(bytes).unwrap().info;
        let row = rusqlite::params![id, name, info.hashes().v1().unwrap().0, id * 100, by];
        let sql = "INSERT INTO entry VALUES (?1, ?2, ?3, NULL, 5, 6, 7, ?4, ?5)";
        connection.execute(sql, row).unwrap();
        let row = rusqlite::params![id, bytes];
        connection.execute("INSERT INTO metainfo VALUES (?, ?)", row).unwrap();
    }
    drop(connection);
    let catalogue = Catalogue::open(folder.path(), CatalogueLimits::default()).unwrap();
    for (name, bytes, published) in [("mine", &mine, 400), ("No Body's@2", &nobodys, 900)] {
        let found = catalogue.fetch(Which::Name(name.to_owned())).await.unwrap().unwrap();
        assert_eq!(&found.metainfo, bytes);
        let Entry { name: kept, version, published: kept_at, size, .. } = found.entry;
        assert_eq!((kept.as_str(), version, kept_at, size), (name, 1, published, 5));
    }
    let mut listed = catalogue.registered().unwrap().len();
    assert_eq!(listed, 2);
    assert_eq!(names(&catalogue, "body", None, 9).await, "No Body's@2");
    let by_path = vec![("No Body's@2".to_owned(), Some("Deep/one.jpg".to_owned()))];
    assert_eq!(found(&catalogue, "one.jpg").await, by_path);
    // What had an owner has it still, and what came from an address is nobody's.
    let next = publish(&catalogue, ("mine", torrent("a", 2)), who(Some(1))).await.unwrap();
    assert_eq!(next.entry().version, 2);
    let gone = withdraw(&catalogue, "No Body's@2", who(Some(1))).await;
    assert!(matches!(gone, Err(CatalogueError::NotOwner(_))), "{gone:?}");
    withdraw(&catalogue, "No Body's@2", admin()).await.unwrap();
    withdraw(&catalogue, "mine", who(Some(1))).await.unwrap();
    listed = catalogue.registered().unwrap().len();
    assert_eq!((listed, catalogue.stored().await.unwrap()), (0, Stored::default()));
    let reader = rusqlite::Connection::open(&path).unwrap();
    let left = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        reader.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((left("metainfo"), left("paths"), left("usage")), (0, 0, 0));
}

#[test]
fn folder_belongs_to_one_tracker() {
    let (folder, _catalogue) = open();
    let refused = Catalogue::open(folder.path(), CatalogueLimits::default()).unwrap_err();
    assert!(matches!(refused, CatalogueError::Locked(_)), "{refused:?}");
}

#[test]
fn damaged_foreign_and_newer_databases_are_refused_in_words() {
    let open = |folder: &Path| Catalogue::open(folder, CatalogueLimits::default());
    let check = |prepare: &dyn Fn(&Path), expected: &str| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tracker.db");
        prepare(&path);
        let refused = open(folder.path()).unwrap_err().to_string();
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
            drop(open(path.parent().unwrap()).unwrap());
            sql(path, "PRAGMA user_version = 99");
        },
        "newer version",
    );
    check(
        &|path| {
            drop(open(path.parent().unwrap()).unwrap());
            // The second page is a table's.
            let mut bytes = std::fs::read(path).unwrap();
            bytes[4_096..8_192].fill(0xee);
            std::fs::write(path, bytes).unwrap();
        },
        "damaged",
    );
}
