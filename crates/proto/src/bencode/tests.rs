use proptest::prelude::*;

use super::*;
use crate::DecodeError;

const LENIENT: Limits = Limits { what: "test", ..Limits::TORRENT };
const CANONICAL: Limits = Limits { form: Form::Canonical, ..LENIENT };

#[test]
fn values_are_found_and_know_their_bytes() {
    let input = b"d1:ad1:xi-7e1:yl3:abci0eee1:b0:e";
    let document = decode(input, &CANONICAL).unwrap();
    let root = document.root();
    assert_eq!(root.raw(), input);
    let a = root.get(b"a").unwrap();
    assert_eq!(a.raw(), b"d1:xi-7e1:yl3:abci0eee");
    assert_eq!(a.get(b"x").and_then(Value::int), Some(-7));
    let items: Vec<_> = a.get(b"y").unwrap().list().unwrap().iter().map(Value::raw).collect();
    assert_eq!(items, [b"3:abc".as_slice(), b"i0e"]);
    assert_eq!(root.get(b"b").and_then(Value::bytes), Some(b"".as_slice()));
    assert!(root.get(b"c").is_none());
    assert!(root.int().is_none() && root.bytes().is_none() && root.list().is_none());
}

#[test]
fn data_may_follow_a_prefix() {
    let (document, rest) = decode_prefix(b"d8:msg_typei1eeDATA", &Limits::MESSAGE).unwrap();
    assert_eq!(document.root().get(b"msg_type").and_then(Value::int), Some(1));
    assert_eq!(rest, b"DATA");
}

fn check(limits: &Limits, input: &[u8], expected: Result<(), &str>) {
    let found = decode(input, limits).map(drop).map_err(|error| error.to_string());
    assert_eq!(
        found,
        expected.map_err(|reason| format!("test: {reason}")),
        "for {}",
        input.escape_ascii()
    );
}

#[test]
fn malformed_input_is_refused_with_its_reason() {
    const EARLY: &str = "the data ends too early";
    const DIGITS: &str = "a number has something else than digits";
    let cases: &[(&[u8], &str)] = &[
        (b"", EARLY),
        (b"i", EARLY),
        (b"i-", EARLY),
        (b"i12", EARLY),
        (b"ie", "a number has no digits"),
        (b"i-e", "a number has no digits"),
        (b"i--1e", DIGITS),
        (b"i+1e", DIGITS),
        (b"i 1e", DIGITS),
        (b"i1.5e", DIGITS),
        (b"i9223372036854775808e", "a number does not fit into 64 bits"),
        (b"i-9223372036854775809e", "a number does not fit into 64 bits"),
        (b"5", EARLY),
        (b"5:abcd", EARLY),
        (b"99999999999999999999999:a", EARLY),
        (b"-1:a", "not bencode"),
        (b"1a:a", "a string's length has something else than digits"),
        (b"e", "a dictionary key has no value"),
        (b"x", "not bencode"),
        (b"l", EARLY),
        (b"d", EARLY),
        (b"d1:a", EARLY),
        (b"d1:ae", "a dictionary key has no value"),
        (b"di1ei2ee", "a dictionary key is not a string"),
        (b"dlei2ee", "a dictionary key is not a string"),
        (b"i1ei2e", "unexpected data after the end"),
        (b"lee", "unexpected data after the end"),
    ];
    for &(input, reason) in cases {
        check(&LENIENT, input, Err(reason));
        check(&CANONICAL, input, Err(reason));
    }
}

#[test]
fn second_spellings_are_refused_only_where_it_matters() {
    let cases: &[(&[u8], &str)] = &[
        (b"i00e", "a number has leading zeros"),
        (b"i-01e", "a number has leading zeros"),
        (b"i-0e", "a number is minus zero"),
        (b"01:a", "a number has leading zeros"),
        (b"d1:b0:1:a0:e", "dictionary keys are not sorted"),
        (b"d1:a0:1:a0:e", "a dictionary key repeats"),
        (b"ld1:b0:1:a0:ee", "dictionary keys are not sorted"),
    ];
    for &(input, reason) in cases {
        check(&LENIENT, input, Ok(()));
        check(&CANONICAL, input, Err(reason));
    }
    check(&CANONICAL, b"d1:a0:2:aa0:1:b0:e", Ok(()));
    check(&CANONICAL, b"i-9223372036854775808e", Ok(()));
}

#[test]
fn limits_are_exact() {
    let limits = Limits { len_max: 8, depth_max: 2, values_max: 4, ..LENIENT };
    check(&limits, b"llee", Ok(()));
    check(&limits, b"llleee", Err("nested too deeply"));
    check(&limits, b"l0:0:0:e", Ok(()));
    check(&limits, b"l0:0:i1ee", Err("more than the limit of 8"));
    check(&Limits { len_max: 99, ..limits }, b"l0:0:0:0:e", Err("too many values"));
    let cut = decode_prefix(b"l0:0:0:0:e", &limits).unwrap_err();
    assert_eq!(cut, DecodeError::TooLong { what: "test", limit: 8 });
}

#[test]
fn nesting_a_million_deep_is_an_error_on_a_small_stack() {
    let run = || {
        let input = vec![b'l'; 1_000_000];
        let refused = decode(&input, &LENIENT).unwrap_err();
        assert_eq!(refused, DecodeError::invalid("test", "nested too deeply"));
        let mut balanced = input;
        balanced.extend(vec![b'e'; 1_000_000]);
        let unlimited = Limits { depth_max: usize::MAX, ..LENIENT };
        assert_eq!(decode(&balanced, &unlimited).unwrap().root().raw().len(), 2_000_000);
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(run).unwrap().join().unwrap();
}

#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(std::collections::BTreeMap<Vec<u8>, Self>),
}

fn encoded(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    match tree {
        Tree::Int(value) => encode_int(&mut out, *value),
        Tree::Bytes(bytes) => encode_bytes(&mut out, bytes),
        Tree::List(items) => {
            let mut list = ListEncoder::new();
            for item in items {
                list.raw(&encoded(item));
            }
            out = list.finish();
        }
        Tree::Dict(entries) => {
            let mut dict = DictEncoder::new();
            for (key, value) in entries.iter().rev() {
                dict.raw(key, encoded(value));
            }
            out = dict.finish();
        }
    }
    out
}

fn decoded(value: Value<'_, '_>) -> Tree {
    if let Some(value) = value.int() {
        Tree::Int(value)
    } else if let Some(bytes) = value.bytes() {
        Tree::Bytes(bytes.to_vec())
    } else if let Some(list) = value.list() {
        Tree::List(list.iter().map(decoded).collect())
    } else {
        let entries = value.dict().unwrap().iter();
        Tree::Dict(entries.map(|(key, value)| (key.to_vec(), decoded(value))).collect())
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Tree::Int),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Tree::Bytes),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = proptest::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            proptest::collection::btree_map(key, inner, 0..6).prop_map(Tree::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn trees_round_trip(tree in tree()) {
        let bytes = encoded(&tree);
        let document = decode(&bytes, &CANONICAL).unwrap();
        prop_assert_eq!(document.root().raw(), &bytes[..]);
        prop_assert_eq!(decoded(document.root()), tree);
    }

    #[test]
    fn cut_documents_are_truncated(tree in tree(), at in any::<proptest::sample::Index>()) {
        let bytes = encoded(&tree);
        let cut = &bytes[..at.index(bytes.len())];
        let expected = DecodeError::Truncated { what: "test" };
        prop_assert_eq!(decode(cut, &CANONICAL).unwrap_err(), expected);
    }

    #[test]
    fn soup_never_panics_and_canonical_reencodes_to_itself(
        soup in proptest::collection::vec(prop_oneof![
            Just(b'i'), Just(b'l'), Just(b'd'), Just(b'e'), Just(b':'), Just(b'-'),
            b'0'..=b'3', any::<u8>(),
        ], 0..40),
    ) {
        if let Ok(document) = decode(&soup, &CANONICAL) {
            prop_assert_eq!(encoded(&decoded(document.root())), soup.clone());
        }
        let _ = decode(&soup, &LENIENT).map(|document| decoded(document.root()));
    }
}
