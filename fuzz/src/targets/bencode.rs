//! Bencode: what is canonical has one spelling, and every value lies inside its parent.

use proto::bencode::{
    DictEncoder, Form, Limits, ListEncoder, Value, decode, decode_prefix, encode_bytes, encode_int,
};

const CANONICAL: Limits = Limits { what: "fuzz", form: Form::Canonical, ..Limits::MESSAGE };

/// Decodes in both forms.
pub fn run(data: &[u8]) {
    if let Ok(document) = decode(data, &CANONICAL) {
        assert_eq!(encoded(document.root()), data, "canonical bencode has one spelling");
        assert_eq!(decode(data, &Limits::MESSAGE).as_ref(), Ok(&document), "lenient takes it too");
    }
    if let Ok((document, rest)) = decode_prefix(data, &Limits::MESSAGE) {
        let raw = document.root().raw();
        assert_eq!(raw.len() + rest.len(), data.len());
        assert!(data.starts_with(raw) && data.ends_with(rest));
        encoded(document.root());
    }
}

/// Encodes again. Recursion is fine here: depth was limited by the decoder.
fn encoded(value: Value<'_, '_>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(list) = value.list() {
        let mut encoder = ListEncoder::new();
        for item in list {
            encoder.raw(&encoded(item));
        }
        out = encoder.finish();
    } else if let Some(dict) = value.dict() {
        let mut encoder = DictEncoder::new();
        for (key, value) in dict {
            encoder.raw(key, encoded(value));
        }
        out = encoder.finish();
    } else if let Some(bytes) = value.bytes() {
        encode_bytes(&mut out, bytes);
    } else {
        encode_int(&mut out, value.int().expect("a value is one of four kinds"));
    }
    out
}
