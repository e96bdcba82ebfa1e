use super::*;

const NOW: Secs = Secs(1_000);
const TOKEN: Token = [7; 16];

fn ip(host: u8) -> IpAddr {
    [10, 0, 0, host].into()
}

fn files(list: &[(&str, u32)]) -> BTreeMap<String, u32> {
    list.iter().map(|(name, parts)| ((*name).to_owned(), *parts)).collect()
}

fn with_peers(list: &[(&str, &[(&str, u32)])]) -> Files {
    let mut all = Files::new(Lives::default());
    for (number, (name, has)) in list.iter().enumerate() {
        all.admit(NOW, name, ip(number as u8), (TOKEN, None)).unwrap();
        all.register(name, 8_000, &files(has)).unwrap();
    }
    all
}

fn holders(all: &Files, file: &str) -> Vec<String> {
    let mut names: Vec<_> =
        all.find(file, 200, 5).peers.into_iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_token_belongs_to_a_name_and_an_address_and_ends() {
    let mut all = Files::new(Lives::default());
    all.admit(NOW, "anna", ip(1), (TOKEN, None)).unwrap();
    assert_eq!(all.renew(NOW, "anna", ip(1), &TOKEN), Ok(None));
    for (name, host, token) in [("bert", 1, TOKEN), ("anna", 2, TOKEN), ("anna", 1, [0; 16])] {
        let refused = all.renew(NOW, name, ip(host), &token);
        assert_eq!(refused, Err(FilesError::InvalidToken), "{name} {host}");
    }
    let end = NOW.plus(Lives::default().token_secs);
    assert_eq!(all.renew(end, "anna", ip(1), &TOKEN), Err(FilesError::InvalidToken));
    all.admit(NOW, "anna", ip(1), ([8; 16], None)).unwrap();
    assert_eq!(all.renew(NOW, "anna", ip(1), &TOKEN), Err(FilesError::InvalidToken), "replaced");
    let elsewhere = all.admit(NOW, "anna", ip(2), (TOKEN, None));
    assert_eq!(elsewhere, Err(FilesError::NameTaken("anna".to_owned())));
    all.admit(NOW.plus(180), "anna", ip(2), (TOKEN, None)).unwrap();
}

#[test]
fn a_register_replaces_the_list() {
    let mut all = with_peers(&[("anna", &[("a", 5), ("b", 1)]), ("bert", &[("a", 5)])]);
    assert_eq!(holders(&all, "a"), ["anna", "bert"]);
    assert_eq!((all.parts("a"), all.totals()), (Some(5), (2, 2)));
    all.register("anna", 9, &files(&[("c", 2)])).unwrap();
    assert_eq!((holders(&all, "a"), holders(&all, "b").len()), (vec!["bert".to_owned()], 0));
    assert_eq!(all.find("c", 9, 1).peers, [("anna".into(), SocketAddr::new(ip(0), 9))]);
    assert_eq!(all.find("nothing", 9, 1), FileHolders::default());
}

#[test]
fn all_agree_on_the_parts_or_nothing_changes() {
    let mut all = with_peers(&[("anna", &[("a", 5)]), ("bert", &[("b", 1)])]);
    let refused = all.register("bert", 1, &files(&[("a", 6), ("z", 1)]));
    let expected = FilesError::Parts { file: "a".to_owned(), known: 5, claimed: 6 };
    assert_eq!(refused, Err(expected.clone()));
    assert_eq!((holders(&all, "b").len(), all.parts("z")), (1, None));
    assert_eq!(all.add("bert", "a", 6), Err(expected));
    // Whose file it is alone may have changed it.
    all.register("anna", 1, &files(&[("a", 6)])).unwrap();
    assert_eq!(all.parts("a"), Some(6));
}

#[test]
fn files_come_and_go_one_by_one() {
    let mut all = with_peers(&[("anna", &[("a", 5)])]);
    all.add("anna", "b", 2).unwrap();
    all.remove("anna", Some(&["a".to_owned(), "nothing".to_owned()]));
    assert_eq!(all.list(|_| true, "", 9).collect::<Vec<_>>(), [("b", 2)]);
    all.remove("anna", None);
    assert_eq!((all.totals(), all.holdings), ((1, 0), 0));
}

#[test]
fn the_list_has_pages_and_patterns() {
    let all = with_peers(&[("anna", &[("aa", 1), ("ab", 2), ("bb", 3)]), ("bert", &[("ab", 2)])]);
    let names = |pattern: &'static str, after, limit| {
        let fits = move |name: &str| name.contains(pattern);
        all.list(fits, after, limit).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("", "", 2), ["aa", "ab"]);
    assert_eq!(names("", "ab", 2), ["bb"]);
    assert_eq!(names("b", "", 9), ["ab", "bb"]);
    assert_eq!(all.holders_of("ab"), 2);
}

#[test]
fn the_silent_are_tried_once_and_then_forgotten() {
    let mut all = with_peers(&[("anna", &[("a", 5)]), ("bert", &[("a", 5)])]);
    assert!(all.sweep(NOW.plus(179)).is_empty());
    let to_try = all.sweep(NOW.plus(180));
    assert_eq!(to_try.len(), 2);
    assert_eq!(to_try[0], ("anna".into(), SocketAddr::new(ip(0), 8_000)));
    all.answered(NOW.plus(182), "anna");
    assert!(all.sweep(NOW.plus(190)).is_empty());
    assert_eq!(holders(&all, "a"), ["anna"]);
    assert_eq!(all.sweep(NOW.plus(182 + 180)).len(), 1, "and so on");
}

#[test]
fn some_of_many_are_given_by_chance() {
    let names: Vec<String> = (0..100).map(|number| format!("peer{number}")).collect();
    let mut all = Files::new(Lives::default());
    for name in &names {
        all.admit(NOW, name, ip(1), (TOKEN, None)).unwrap();
        all.register(name, 1, &files(&[("a", 1)])).unwrap();
    }
    let found = all.find("a", 10, 1);
    assert_eq!((found.peers.len(), all.holders_of("a")), (10, 100));
    let distinct: BTreeSet<_> = found.peers.iter().map(|(name, _)| name).collect();
    assert_eq!(distinct.len(), 10);
    assert_ne!(found.peers, all.find("a", 10, 2).peers);
}
