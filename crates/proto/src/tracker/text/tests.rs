use std::net::SocketAddr;

use proptest::prelude::*;

use super::limits::{CHUNK_LIST_LEN_MAX, DATAGRAM_LEN_MAX, DIGITS_MAX, REPLY_LEN_MAX};
use super::*;

fn register(name: &str, ip: &str, port: u16, size: u32) -> Request {
    Request::Register(Register { name: name.to_owned(), ip: ip.parse().unwrap(), port, size })
}

#[test]
fn the_documents_own_messages_are_read() {
    let cases = [
        ("register; alice; 1.2.3.4; 7000; 1340", register("alice", "1.2.3.4", 7000, 1340)),
        ("register;alice;1.2.3.4;7000;1340\n", register("alice", "1.2.3.4", 7000, 1340)),
        ("  register ; a b c ; ::1 ; 1 ; 0 ", register("a b c", "::1", 1, 0)),
        (
            "register; größe; 127.0.0.1; 65535; 1048576",
            register("größe", "127.0.0.1", 65_535, 1 << 20),
        ),
        ("list_seeder", Request::ListSeeder),
        (" list_seeder\r\n", Request::ListSeeder),
    ];
    for (text, expected) in cases {
        assert_eq!(Request::decode(text.as_bytes()), Ok(expected), "{text}");
    }
}

#[test]
fn every_other_datagram_is_an_error() {
    let long_name = format!("register; {}; 1.2.3.4; 7000; 1", "x".repeat(256));
    let long = format!("list_seeder{}", " ".repeat(DATAGRAM_LEN_MAX));
    let cases = [
        "",
        "hello",
        "LIST_SEEDER",
        "list_seeder;",
        "register",
        "register; a; 1.2.3.4; 7000",
        "register; a; 1.2.3.4; 7000; 1; 2",
        "register; ; 1.2.3.4; 7000; 1",
        "register; a\nb; 1.2.3.4; 7000; 1",
        "register; a\0; 1.2.3.4; 7000; 1",
        "register; a; somewhere; 7000; 1",
        "register; a; 1.2.3.4; 0; 1",
        "register; a; 1.2.3.4; 65536; 1",
        "register; a; 1.2.3.4; -1; 1",
        "register; a; 1.2.3.4; 7000; 1048577",
        "register; a; 1.2.3.4; 7000; -1",
        "register; a; 1.2.3.4; 7000; ten",
        &long_name,
        &long,
    ];
    for text in cases {
        assert!(Request::decode(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Request::decode(b"register; \xff; 1.2.3.4; 7000; 1").is_err());
}

fn reply(seeders: &[Listed<'_>]) -> (String, usize) {
    let mut out = Vec::new();
    let mut list = SeederList::new(&mut out);
    let fitting = seeders.iter().filter(|seeder| list.push(seeder)).count();
    list.finish();
    (String::from_utf8(out).unwrap(), fitting)
}

fn listed(name: &str) -> Listed<'_> {
    Listed { name, addr: SocketAddr::from(([1, 2, 3, 4], 7000)), lists_port: 5556, size: 1340 }
}

#[test]
fn the_documents_own_reply_is_written() {
    assert_eq!(reply(&[]).0, "[]");
    assert_eq!(reply(&[listed("alice")]).0, "[('alice', '1.2.3.4', 7000, 5556, 1340)]");
    let v6 = Listed { addr: "[2001:db8::1]:1".parse().unwrap(), ..listed("it's\\") };
    assert_eq!(
        reply(&[listed("größe 🐟"), v6]).0,
        "[('gr\\xf6\\xdfe \\U0001f41f', '1.2.3.4', 7000, 5556, 1340), \
         ('it\\'s\\\\', '2001:db8::1', 1, 5556, 1340)]"
    );
}

#[test]
fn a_reply_is_never_longer_than_its_limit_and_one_seeder_always_fits() {
    for (letter, count) in [("a", 20), ("é", 127), ("\\", 255), ("鱼", 85), ("🐟", 63)] {
        let name = letter.repeat(count);
        let v6 = Listed {
            addr: "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap(),
            lists_port: 65_535,
            size: u64::MAX,
            ..listed(&name)
        };
        let (text, fitting) = reply(&[v6; 60]);
        assert!(fitting >= 1 && text.len() <= REPLY_LEN_MAX, "{letter}: {fitting}");
        assert!(text.ends_with(")]"));
    }
}

fn list(text: &str) -> ChunkList {
    ChunkList::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn texts(list: &[&str]) -> Vec<Item<'static>> {
    list.iter().map(|text| Item::Text((*text).to_owned())).collect()
}

#[test]
fn python_lists_are_read() {
    let cases: &[(&str, Vec<Item<'_>>)] = &[
        ("[]", texts(&[])),
        ("[ \n]", texts(&[])),
        ("['a', 'b']", texts(&["a", "b"])),
        ("['a','b',]\n", texts(&["a", "b"])),
        (r#"["it's", 'a "b"']"#, texts(&["it's", "a \"b\""])),
        (r"['\\\'\n\t\x41\u00e9\U0001f41f']", texts(&["\\'\n\tAé🐟"])),
        ("['größe', '']", texts(&["größe", ""])),
        ("[1, -2, +3 ,0,00]", ["1", "-2", "+3", "0", "00"].map(Item::Integer).into()),
    ];
    for (text, expected) in cases {
        assert!(list(text).items().eq(expected.iter().cloned()), "{text}");
    }
    let long = format!("[{}]", "9".repeat(DIGITS_MAX));
    assert_eq!(list(&long).items().count(), 1);
}

#[test]
fn what_is_no_list_of_strings_and_integers_is_refused() {
    let bad: &[&str] = &[
        "",
        "[",
        "]",
        " []",
        "[]]",
        "[],",
        "['a'",
        "['a]",
        "['a' 'b']",
        "[,]",
        "['a',,]",
        "[[]]",
        "[()]",
        "[{}]",
        "[None]",
        "[1.5]",
        "[1e3]",
        "[0x1]",
        "[1_0]",
        "[01]",
        "[-]",
        "[b'a']",
        "[f'a']",
        "['''a''']",
        "['a\nb']",
        "['a\\q']",
        "['\\N{BULLET}']",
        "['\\x4']",
        "['\\ud800']",
        "['\\U00110000']",
        "__import__('os').system('true')",
        "[__import__('os')]",
        "['a'] + ['b']",
        "['a'] # list",
        "['\u{1}']",
    ];
    for text in bad {
        assert!(ChunkList::decode(text.as_bytes()).is_err(), "{text}");
    }
    assert!(ChunkList::decode(b"['\xff']").is_err());
    assert!(ChunkList::decode(format!("[{}]", "9".repeat(DIGITS_MAX + 1)).as_bytes()).is_err());
}

#[test]
fn a_list_that_never_ends_is_refused_at_its_limit() {
    let mut scanner = Scanner::default();
    scanner.feed(b"['").unwrap();
    let mut fed = 2;
    while scanner.feed(&[b'x'; 1_000]).is_ok() {
        fed += 1_000;
        assert!(fed <= CHUNK_LIST_LEN_MAX);
    }
    assert!(fed + 1_000 > CHUNK_LIST_LEN_MAX);
    assert!(ChunkList::decode(&[b'['; 100_000]).is_err(), "depth is refused at once");
}

#[test]
fn the_end_of_a_list_is_found_however_the_bytes_come() {
    let stream = b"['a', \"]\", '\\']', 12]\n ";
    for step in 1..=stream.len() {
        let mut scanner = Scanner::default();
        stream.chunks(step).for_each(|part| scanner.feed(part).unwrap());
        assert_eq!(scanner.end(), Some(21), "{step}");
    }
}

#[test]
fn lists_of_hashes_have_the_length_that_is_told_beforehand() {
    for count in [0, 1, 2, 77] {
        let (mut out, mut list) = (Vec::new(), ListWriter::default());
        (0..count).for_each(|_| list.text(&mut out, &"ab".repeat(20)));
        list.finish(&mut out);
        assert_eq!(out.len() as u64, hex_list_len(count, 40));
        assert_eq!(ChunkList::decode(&out).unwrap().items().count() as u64, count);
    }
}

#[derive(Debug, Clone)]
enum Any {
    Text(String),
    Integer(i128),
}

fn any_item() -> impl Strategy<Value = Any> {
    prop_oneof![any::<String>().prop_map(Any::Text), any::<i128>().prop_map(Any::Integer)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_alike(list in prop::collection::vec(any_item(), 0..20)) {
        let (mut out, mut writer) = (Vec::new(), ListWriter::default());
        for item in &list {
            match item {
                Any::Text(text) => writer.text(&mut out, text),
                Any::Integer(number) => writer.integer(&mut out, &number.to_string()),
            }
        }
        writer.finish(&mut out);
        prop_assert!(out.is_ascii());
        let read = ChunkList::decode(&out).unwrap();
        let numbers: Vec<String> = list.iter().map(|item| match item {
            Any::Text(_) => String::new(),
            Any::Integer(number) => number.to_string(),
        }).collect();
        let expected: Vec<Item<'_>> = list.iter().zip(&numbers).map(|(item, number)| match item {
            Any::Text(text) => Item::Text(text.clone()),
            Any::Integer(_) => Item::Integer(number),
        }).collect();
        prop_assert_eq!(read.items().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Request::decode(&bytes);
        let _ = ChunkList::decode(&bytes);
    }

    #[test]
    fn list_likes_are_read_or_refused_alike_however_they_come(
        text in r#"\[[\['",0-9a-fxuU\\ \]-]{0,40}\]?"#, step in 1_usize..9,
    ) {
        let whole = ChunkList::decode(text.as_bytes());
        let mut scanner = Scanner::default();
        let fed = text.as_bytes().chunks(step).try_for_each(|part| scanner.feed(part));
        prop_assert_eq!(whole.is_ok(), fed.is_ok() && scanner.end().is_some());
        if let Ok(list) = whole {
            // As often as commas stand between items, nothing is lost in the walk.
            prop_assert_eq!(list.items().count(), reread(&list));
        }
    }

    #[test]
    fn requests_are_read_as_they_are_written(
        name in "[a-zé🐟'\\\\ ]{1,40}", ip in any::<std::net::IpAddr>(), port in 1_u16.., size in 0_u32..=1 << 20,
    ) {
        prop_assume!(name.trim() == name);
        let request = Request::Register(Register { name, ip, port, size });
        let mut out = Vec::new();
        request.encode(&mut out);
        prop_assert_eq!(Request::decode(&out), Ok(request));
    }
}

/// The number of items after the list was written anew and read again.
fn reread(list: &ChunkList) -> usize {
    let (mut out, mut writer) = (Vec::new(), ListWriter::default());
    for item in list.items() {
        match item {
            Item::Text(text) => writer.text(&mut out, &text),
            Item::Integer(digits) => writer.integer(&mut out, digits),
        }
    }
    writer.finish(&mut out);
    let again = ChunkList::decode(&out).expect("what we write is read");
    assert!(again.items().eq(list.items()));
    again.items().count()
}
