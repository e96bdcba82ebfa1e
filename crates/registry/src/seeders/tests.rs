use proptest::prelude::*;

use super::*;

const NOW: Secs = Secs(1_000);
const LIFE: u32 = 180;

fn ip(host: u8) -> IpAddr {
    [10, 0, 0, host].into()
}

fn wish(name: &str, host: u8, size: u32) -> Registration<'_> {
    let (source, addr) = (ip(host), SocketAddr::new(ip(host), 7_000));
    Registration { name, source, addr, size, proven: false }
}

fn list(text: &str) -> ChunkList {
    ChunkList::decode(text.as_bytes()).unwrap()
}

fn names(seeders: &Seeders) -> Vec<String> {
    let mut names = Vec::new();
    seeders.choose(0, usize::MAX, 7, |chosen| match chosen {
        Chosen::Seeder(seeder) => names.push(seeder.name.to_string()),
        Chosen::Other(_) => panic!("there are no others"),
    });
    names.sort();
    names
}

#[test]
fn a_seeder_is_listed_at_once_and_its_list_later() {
    let mut all = Seeders::new(LIFE);
    assert_eq!(all.register(NOW, &wish("alice", 1, 5)), Ok(true));
    assert_eq!(names(&all), ["alice"]);
    assert_eq!(all.find("alice").unwrap().list, None);
    assert_eq!((all.longest_at(ip(1)), all.longest_at(ip(2))), (Some(5), None));
    assert_eq!(all.deliver(NOW, ip(1), list("['a']")).as_deref(), Ok("alice"));
    assert_eq!(all.find("alice").unwrap().list, Some(list("['a']")));
    assert!(!all.lacks_list(ip(1)));
    assert_eq!(all.totals(), (1, 1, 5));
    assert_eq!(all.register(NOW, &wish("alice", 1, 5)), Ok(false), "the same list");
    assert_eq!(all.register(NOW, &wish("alice", 1, 6)), Ok(true), "another one");
    assert_eq!(all.totals(), (1, 0, 0));
    assert_eq!(all.register(NOW, &wish("bert", 2, 0)), Ok(false), "it has none");
}

#[test]
fn a_list_comes_from_its_seeders_address_and_has_the_length_it_said() {
    let mut all = Seeders::new(LIFE);
    all.register(NOW, &wish("alice", 1, 5)).unwrap();
    for (host, text) in [(2, "['a']"), (1, "['ab']"), (1, "[]")] {
        let refused = all.deliver(NOW, ip(host), list(text));
        assert_eq!(refused, Err(SeedersError::Unexpected), "{host} {text}");
    }
}

#[test]
fn of_several_seeders_of_an_address_the_one_without_a_list_gets_it() {
    let mut all = Seeders::new(LIFE);
    for name in ["alice", "bert", "carl"] {
        all.register(NOW, &wish(name, 1, 5)).unwrap();
    }
    all.register(NOW, &wish("dora", 1, 2)).unwrap();
    let order = ["['a']", "['b']", "['c']", "[]", "['d']"];
    let got = order.map(|text| all.deliver(NOW, ip(1), list(text)).unwrap().to_string());
    assert_eq!(got, ["carl", "bert", "alice", "dora", "carl"]);
}

#[test]
fn a_name_belongs_to_an_address_but_no_forger_keeps_it() {
    let mut all = Seeders::new(LIFE);
    all.register(NOW, &wish("alice", 1, 5)).unwrap();
    assert_eq!(all.register(NOW, &wish("alice", 2, 5)), Err(SeedersError::NameTaken));
    let owner = Registration { proven: true, ..wish("alice", 2, 5) };
    assert_eq!(all.register(NOW, &owner), Ok(true));
    assert_eq!(all.find("alice").unwrap().source, ip(2));
    let other = Registration { proven: true, ..wish("alice", 1, 5) };
    assert_eq!(all.register(NOW, &other), Err(SeedersError::NameTaken));
    assert_eq!(all.totals().0, 1);
}

#[test]
fn a_silent_seeder_is_tried_once_then_gone() {
    let mut all = Seeders::new(LIFE);
    let addr = SocketAddr::new([203, 0, 113, 9].into(), 7_000);
    all.register(NOW, &Registration { addr, ..wish("alice", 1, 5) }).unwrap();
    all.register(NOW, &wish("bert", 2, 5)).unwrap();
    all.register(NOW.plus(100), &wish("bert", 2, 5)).unwrap();
    assert_eq!(all.sweep(NOW.plus(LIFE - 1)), []);
    let tried = all.sweep(NOW.plus(LIFE));
    assert_eq!(tried, [("alice".into(), SocketAddr::new(ip(1), 7_000))], "at its own address only");
    assert_eq!(all.sweep(NOW.plus(LIFE + 1)), [], "once");
    assert_eq!(names(&all), ["alice", "bert"]);
    all.sweep(NOW.plus(LIFE + TRY_SECS));
    assert_eq!(names(&all), ["bert"]);
    assert_eq!(all.sweep(NOW.plus(LIFE + 100)).len(), 1);
    all.answered(NOW.plus(LIFE + 101), "bert");
    assert_eq!(all.sweep(NOW.plus(2 * LIFE + 100)), []);
    assert_eq!(all.sweep(NOW.plus(2 * LIFE + 101)).len(), 1);
    assert_eq!(names(&all), ["bert"]);
}

#[test]
fn a_flood_of_one_address_ends_at_its_share() {
    let mut all = Seeders::new(LIFE);
    for number in 0..SEEDERS_HOLDER_MAX + 9 {
        let done = all.register(NOW, &wish(&number.to_string(), 1, 5));
        assert_eq!(done.is_ok(), number < SEEDERS_HOLDER_MAX, "{number}");
    }
    all.register(NOW, &wish("other", 2, 5)).unwrap();
    let big = format!("['{}']", "x".repeat(CHUNK_LISTS_HOLDER_LEN_MAX / 2 - 4));
    for number in 0..3 {
        let size = big.len() as u32;
        all.register(NOW, &wish(&number.to_string(), 1, size)).unwrap();
    }
    let delivered: Vec<_> = (0..3).map(|_| all.deliver(NOW, ip(1), list(&big)).is_ok()).collect();
    assert_eq!(delivered, [true, true, false]);
    assert_eq!(all.totals().2, CHUNK_LISTS_HOLDER_LEN_MAX);
}

#[test]
fn forged_registers_push_out_each_other_only() {
    let mut all = Seeders::new(LIFE);
    all.register(NOW, &Registration { proven: true, ..wish("proven", 1, 5) }).unwrap();
    all.register(NOW, &wish("delivered", 2, 2)).unwrap();
    all.deliver(NOW, ip(2), list("[]")).unwrap();
    all.register(NOW, &wish("unproven", 3, 5)).unwrap();
    for number in 0..SEEDERS_MAX as u32 + 10 {
        let source = IpAddr::from((number | 1 << 30).to_be_bytes());
        let addr = SocketAddr::new(source, 1);
        let name = format!("forged {number}");
        let forged = Registration { name: &name, source, addr, size: 5, proven: false };
        all.register(NOW, &forged).unwrap();
    }
    assert_eq!(all.totals().0, SEEDERS_MAX);
    assert!(all.find("proven").is_some() && all.find("delivered").is_some());
    assert!(all.find("unproven").is_none() && all.find("forged 0").is_none());
    assert_eq!(all.register(NOW, &wish("newcomer", 4, 5)), Ok(true), "there is room for others");
}

#[test]
fn everybody_has_the_same_chance() {
    let mut all = Seeders::new(LIFE);
    for host in 0..10 {
        all.register(NOW, &wish(&host.to_string(), host, 5)).unwrap();
    }
    let mut seen = [0; 20];
    for chance in 0..2_000 {
        all.choose(10, 5, chance, |chosen| match chosen {
            Chosen::Seeder(seeder) => seen[seeder.name.parse::<usize>().unwrap()] += 1,
            Chosen::Other(at) => seen[10 + at] += 1,
        });
    }
    assert_eq!(seen.iter().sum::<u32>(), 10_000);
    assert!(seen.iter().all(|times| (350..650).contains(times)), "{seen:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Register { name: u8, host: u8, size: u8, proven: bool },
    Deliver { host: u8, size: u8 },
    Answer(u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let register = (0..6_u8, 0..4_u8, 2..6_u8, any::<bool>())
        .prop_map(|(name, host, size, proven)| Step::Register { name, host, size, proven });
    prop_oneof![
        4 => register,
        3 => (0..4_u8, 2..6_u8).prop_map(|(host, size)| Step::Deliver { host, size }),
        1 => (0..6_u8).prop_map(Step::Answer),
        1 => (0..200_u16).prop_map(Step::Wait),
    ]
}

/// What must hold after every step.
fn check(all: &Seeders) {
    let held: usize = all.holders.values().map(|holding| holding.names.len()).sum();
    assert_eq!((all.index.len(), held), (all.rows.len(), all.rows.len()));
    let mut lists_len = 0;
    for (at, row) in all.rows.iter().enumerate() {
        let seeder = &row.seeder;
        assert_eq!(all.index[&seeder.name], at);
        assert!(all.holders[&Holder::of(seeder.source)].names.contains(&seeder.name));
        assert_eq!(all.unproven.contains(&(row.age, Arc::clone(&seeder.name))), !row.proven);
        if let Some(list) = &seeder.list {
            assert_eq!(list.as_str().len(), seeder.size as usize, "what is told is what is given");
            lists_len += list.as_str().len();
        }
    }
    assert_eq!(lists_len, all.lists_len);
    assert_eq!(lists_len, all.holders.values().map(|holding| holding.lists_len).sum::<usize>());
    assert_eq!(all.unproven.len(), all.rows.iter().filter(|row| !row.proven).count());
}

proptest! {
    #[test]
    fn the_tables_agree_with_each_other(steps in prop::collection::vec(step(), 1..200)) {
        let mut all = Seeders::new(LIFE);
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Register { name, host, size, proven } => {
                    let name = name.to_string();
                    let wish = Registration { proven, ..wish(&name, host, size.into()) };
                    if all.register(now, &wish).is_ok() {
                        prop_assert_eq!(all.find(&name).unwrap().source, ip(host));
                    }
                }
                Step::Deliver { host, size } => {
                    let text = format!("[{}]", " ".repeat(usize::from(size) - 2));
                    let expected = all.expected(ip(host), text.len()..=text.len()).is_some();
                    prop_assert_eq!(all.deliver(now, ip(host), list(&text)).is_ok(), expected);
                }
                Step::Answer(name) => all.answered(now, &name.to_string()),
                Step::Wait(secs) => {
                    now = now.plus(secs.into());
                    all.sweep(now);
                }
            }
            check(&all);
        }
    }
}
