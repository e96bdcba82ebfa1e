//! From a torrent file to [`Metainfo`], and from an info dictionary to [`Info`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::limits::{
    CONTENT_LEN_MAX, PIECE_COUNT_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN, TEXT_LEN_MAX,
    TRACKER_COUNT_MAX, URL_LEN_MAX, V1_PIECE_LEN_MIN, WEB_SEED_COUNT_MAX,
};
use super::{File, Info, Metainfo, MetainfoError, PieceLayers, is_web_seed, name, v1, v2};
use crate::bencode::{self, Dict, Limits, Value};
use crate::{InfoHashV1, InfoHashV2, InfoHashes, MerkleHash, PieceHash, merkle};

impl Metainfo {
    /// Decodes and checks a torrent file.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let document = bencode::decode(bytes, &Limits::TORRENT)?;
        let root = document.root().dict();
        let root = root.ok_or(MetainfoError::invalid("torrent file", "is not a dictionary"))?;
        let mut infos = root.iter().filter(|(key, _)| *key == b"info");
        let (_, info) = infos.next().ok_or(MetainfoError::Missing { key: "info" })?;
        if infos.next().is_some() {
            return Err(MetainfoError::invalid("info", "is there twice"));
        }
        let info = Info::decode(info.raw())?;
        let layers = decode_layers(root, &info)?;
        Ok(Self {
            info,
            layers,
            trackers: decode_trackers(root),
            web_seeds: decode_web_seeds(root),
            comment: text(root, b"comment"),
            created_by: text(root, b"created by"),
            creation_date: root.get(b"creation date").and_then(Value::int),
        })
    }
}

impl From<Info> for Metainfo {
    /// A torrent of which only the info dictionary is known.
    fn from(info: Info) -> Self {
        Self {
            info,
            layers: PieceLayers::default(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }
}

impl Info {
    /// Decodes and checks an info dictionary, as it stands in a torrent file or comes from peers.
    pub fn decode(raw: &[u8]) -> Result<Self, MetainfoError> {
        let document = bencode::decode(raw, &Limits::INFO)?;
        let dict = document.root().dict();
        let dict = dict.ok_or(MetainfoError::invalid("info", "is not a dictionary"))?;
        let has_v2 = has_v2(dict)?;
        let has_v1 = !has_v2 || dict.get(b"pieces").is_some();
        let name = decode_name(dict)?;
        let piece_len = decode_piece_len(dict, has_v2)?;
        let v1 = if has_v1 { Some(v1::decode_files(dict, &name)?) } else { None };
        let v2 = if has_v2 { Some(v2::decode_files(dict, piece_len)?) } else { None };
        let single_file = match &v1 {
            Some(_) => dict.get(b"length").is_some(),
            None => v2.as_ref().is_some_and(|content| is_single(&content.files, &name)),
        };
        let content = match (v1, v2) {
            (Some(v1), Some(v2)) => agreed(v1, v2, piece_len)?,
            (Some(content), None) | (None, Some(content)) => content,
            (None, None) => return Err(MetainfoError::Missing { key: "pieces" }),
        };
        name::check_unique(&content.files)?;
        check_symlinks(&content.files)?;
        let pieces = content.end.div_ceil(u64::from(piece_len));
        if pieces > PIECE_COUNT_MAX {
            return Err(MetainfoError::TooLarge { what: "pieces", limit: PIECE_COUNT_MAX });
        }
        let v1_pieces = if has_v1 { Some(v1::decode_pieces(dict, pieces)?) } else { None };
        let hashes = InfoHashes::new(
            has_v1.then(|| InfoHashV1(digest::sha1(raw))),
            has_v2.then(|| InfoHashV2(digest::sha256(raw))),
        );
        Ok(Self {
            raw: raw.into(),
            hashes: hashes.ok_or(MetainfoError::Missing { key: "pieces" })?,
            name,
            single_file,
            private: dict.get(b"private").and_then(Value::int) == Some(1),
            piece_len,
            end: content.end,
            files: content.files.into(),
            link_numbers: content.link_numbers.into(),
            v1_pieces,
        })
    }
}

/// The files as one of the two formats lists them.
pub(super) struct Content {
    /// Without pads.
    pub(super) files: Vec<File>,
    /// Where each stands among files and pads; empty when there are no pads.
    pub(super) link_numbers: Vec<u32>,
    /// End of the piece space, pads included.
    pub(super) end: u64,
}

fn has_v2(dict: Dict<'_, '_>) -> Result<bool, MetainfoError> {
    match dict.get(b"meta version").map(Value::int) {
        None | Some(Some(1)) => Ok(false),
        Some(Some(2)) => Ok(true),
        Some(_) => Err(MetainfoError::invalid("meta version", "is neither 1 nor 2")),
    }
}

fn decode_name(dict: Dict<'_, '_>) -> Result<String, MetainfoError> {
    let value = dict.get(b"name.utf-8").or_else(|| dict.get(b"name"));
    let value = value.ok_or(MetainfoError::Missing { key: "name" })?;
    let bytes = value.bytes().ok_or(MetainfoError::invalid("name", "is not a string"))?;
    let name = component(bytes, &[])?;
    match name::check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(reason) => Err(MetainfoError::invalid("name", reason)),
    }
}

/// A component as text; `parents` are for the error only.
pub(super) fn component<'a>(bytes: &'a [u8], parents: &[&str]) -> Result<&'a str, MetainfoError> {
    std::str::from_utf8(bytes).map_err(|_| {
        let lossy = String::from_utf8_lossy(bytes);
        let path: Vec<&str> = parents.iter().copied().chain([lossy.as_ref()]).collect();
        MetainfoError::path(&path, "is not valid UTF-8")
    })
}

fn decode_piece_len(dict: Dict<'_, '_>, has_v2: bool) -> Result<u32, MetainfoError> {
    const KEY: &str = "piece length";
    let value = dict.get(KEY.as_bytes()).ok_or(MetainfoError::Missing { key: KEY })?;
    let value = value.int().ok_or(MetainfoError::invalid(KEY, "is not a number"))?;
    let len = u32::try_from(value).ok().filter(|len| *len <= PIECE_LEN_MAX);
    let Some(len) = len else {
        let reason = if value < 0 { "is negative" } else { "is above 512 MiB" };
        return Err(MetainfoError::invalid(KEY, reason));
    };
    if has_v2 && (len < PIECE_LEN_MIN || !len.is_power_of_two()) {
        return Err(MetainfoError::invalid(KEY, "is not a power of two of at least 16 KiB"));
    }
    if len < V1_PIECE_LEN_MIN {
        return Err(MetainfoError::invalid(KEY, "is below 1 KiB"));
    }
    Ok(len)
}

/// Length of one file, from either format; missing is fine for links only.
pub(super) fn decode_len(value: Option<Value<'_, '_>>) -> Result<u64, MetainfoError> {
    const KEY: &str = "length";
    let value = value.ok_or(MetainfoError::Missing { key: KEY })?;
    let len = value.int().ok_or(MetainfoError::invalid(KEY, "is not a number"))?;
    let len = u64::try_from(len).map_err(|_| MetainfoError::invalid(KEY, "is negative"))?;
    check_end(len)
}

/// Passes on a position in the piece space that is within bounds.
pub(super) const fn check_end(end: u64) -> Result<u64, MetainfoError> {
    if end > CONTENT_LEN_MAX {
        return Err(MetainfoError::TooLarge { what: "bytes in all", limit: CONTENT_LEN_MAX });
    }
    Ok(end)
}

/// What BEP 47 says about a file.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) pad: bool,
    pub(super) executable: bool,
    pub(super) hidden: bool,
    pub(super) symlink: Option<Vec<String>>,
}

pub(super) fn decode_attributes(dict: Dict<'_, '_>) -> Result<Attributes, MetainfoError> {
    let attr = dict.get(b"attr").and_then(Value::bytes).unwrap_or_default();
    let mut attributes = Attributes {
        pad: attr.contains(&b'p'),
        executable: attr.contains(&b'x'),
        hidden: attr.contains(&b'h'),
        symlink: None,
    };
    if attr.contains(&b'l') && !attributes.pad {
        const KEY: &str = "symlink path";
        let value = dict.get(KEY.as_bytes()).ok_or(MetainfoError::Missing { key: KEY })?;
        attributes.symlink = Some(decode_path(value, KEY)?);
    }
    Ok(attributes)
}

/// A list of components, checked.
pub(super) fn decode_path(
    value: Value<'_, '_>,
    key: &'static str,
) -> Result<Vec<String>, MetainfoError> {
    let list = value.list().ok_or_else(|| MetainfoError::invalid(key, "is not a list"))?;
    let mut path: Vec<&str> = Vec::new();
    for item in list {
        let bytes =
            item.bytes().ok_or_else(|| MetainfoError::invalid(key, "has no string inside"))?;
        let text = component(bytes, &path)?;
        path.push(text);
    }
    name::check_path(&path)?;
    Ok(path.into_iter().map(str::to_owned).collect())
}

/// v2 alone does not tell one file from a folder with one file, but by the name.
pub(super) fn is_single(files: &[File], name: &str) -> bool {
    matches!(files, [file] if matches!(file.path.as_slice(), [only] if only == name))
}

/// The content of a hybrid, if both halves describe the same.
fn agreed(v1: Content, v2: Content, piece_len: u32) -> Result<Content, MetainfoError> {
    let disagree = |what| Err(MetainfoError::Disagree { what });
    if v1.files.len() != v2.files.len() {
        return disagree("the number of files");
    }
    for (left, right) in v1.files.iter().zip(&v2.files) {
        if left.path != right.path {
            return disagree("the names or the order of files");
        }
        if left.len != right.len {
            return disagree("the length of a file");
        }
        if left.symlink != right.symlink {
            return disagree("a symbolic link");
        }
        if left.len > 0 && left.offset != right.offset {
            return disagree("where a file starts");
        }
    }
    // The pad behind the last file is optional: the first creators of hybrids left it out.
    if v1.end != v2.end && v1.end != v2.end.next_multiple_of(u64::from(piece_len)) {
        return disagree("where the content ends");
    }
    Ok(Content { files: v2.files, link_numbers: v1.link_numbers, end: v1.end })
}

/// A link must name its target by a path inside the torrent; that it is there is not needed, but a
/// link to itself is none.
fn check_symlinks(files: &[File]) -> Result<(), MetainfoError> {
    let mut links = files.iter().filter(|file| file.symlink.is_some());
    match links.find(|file| file.symlink.as_deref() == Some(&file.path)) {
        Some(link) => Err(MetainfoError::path(&link.path, "is a link to itself")),
        None => Ok(()),
    }
}

fn decode_layers(root: Dict<'_, '_>, info: &Info) -> Result<PieceLayers, MetainfoError> {
    const KEY: &str = "piece layers";
    let mut layers = PieceLayers::default();
    if info.hashes.v2().is_none() {
        return Ok(layers);
    }
    let mut given = BTreeMap::new();
    if let Some(value) = root.get(KEY.as_bytes()) {
        let dict = value.dict().ok_or(MetainfoError::invalid(KEY, "is not a dictionary"))?;
        for (key, value) in dict {
            let key = MerkleHash(
                key.try_into()
                    .map_err(|_| MetainfoError::invalid(KEY, "has a key that is not a hash"))?,
            );
            let layer = value.bytes();
            let layer =
                layer.ok_or(MetainfoError::invalid(KEY, "has a value that is no string"))?;
            if given.insert(key, layer).is_some() {
                return Err(MetainfoError::invalid(KEY, "has a layer twice"));
            }
        }
    }
    for file in info.files.iter().filter(|file| file.len > u64::from(info.piece_len)) {
        let Some(root) = file.root else { continue };
        decode_layer(&mut layers, file, root, &given, info.piece_len)?;
    }
    if given.keys().any(|root| layers.layer(root).is_none()) {
        return Err(MetainfoError::invalid(KEY, "has a layer that belongs to no file"));
    }
    Ok(layers)
}

fn decode_layer(
    layers: &mut PieceLayers,
    file: &File,
    root: MerkleHash,
    given: &BTreeMap<MerkleHash, &[u8]>,
    piece_len: u32,
) -> Result<(), MetainfoError> {
    let refused = |reason| Err(MetainfoError::file(&file.path, reason));
    let Some(bytes) = given.get(&root) else { return refused("has no piece layer") };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() as u64 != merkle::layer_len(file.len, piece_len) {
        return refused("has a piece layer of the wrong length");
    }
    // Files with equal content share a layer; folding it once is enough.
    if layers.layer(&root).is_some() {
        return Ok(());
    }
    let layer: Arc<[MerkleHash]> = hashes.iter().copied().map(MerkleHash).collect();
    if !merkle::verify_layer(&root, file.len, piece_len, &layer) {
        return refused("has a piece layer that does not fold to its root");
    }
    layers.insert_verified(root, layer);
    Ok(())
}

/// The tiers of BEP 12, or `announce` where there are none. What is no usable text is left out: a
/// torrent is good without its trackers.
fn decode_trackers(root: Dict<'_, '_>) -> Vec<Vec<String>> {
    let mut left = TRACKER_COUNT_MAX;
    let mut tiers = Vec::new();
    for tier in root.get(b"announce-list").and_then(Value::list).into_iter().flatten() {
        // Some creators write a plain list of URLs.
        let urls: Vec<String> = match tier.list() {
            Some(urls) => urls.iter().filter_map(url).take(left).collect(),
            None => url(tier).into_iter().take(left).collect(),
        };
        left -= urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty() {
        tiers.extend(root.get(b"announce").and_then(url).map(|url| vec![url]));
    }
    tiers
}

/// `url-list` (BEP 19): one URL or a list. What is no usable URL is left out.
fn decode_web_seeds(root: Dict<'_, '_>) -> Vec<String> {
    let Some(value) = root.get(b"url-list") else { return Vec::new() };
    let mut seeds: Vec<String> = Vec::new();
    let one = value.list().is_none().then_some(value);
    let urls = value.list().into_iter().flatten().chain(one).filter_map(url);
    for url in urls.filter(|url| is_web_seed(url)) {
        if seeds.len() < WEB_SEED_COUNT_MAX && !seeds.contains(&url) {
            seeds.push(url);
        }
    }
    seeds
}

fn url(value: Value<'_, '_>) -> Option<String> {
    let url = value.text()?.trim();
    let fits = !url.is_empty() && url.len() <= URL_LEN_MAX;
    (fits && !url.chars().any(name::is_hidden_control)).then(|| url.to_owned())
}

/// Free text: what is not UTF-8 or would steer a terminal becomes U+FFFD.
fn text(root: Dict<'_, '_>, key: &[u8]) -> Option<String> {
    let bytes = root.get(key)?.bytes()?;
    let cut = &bytes[..bytes.len().min(TEXT_LEN_MAX)];
    let harmless = |c| match c {
        '\n' | '\t' => c,
        c if name::is_hidden_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    Some(String::from_utf8_lossy(cut).replace("\r\n", "\n").chars().map(harmless).collect())
}

/// The hashes of `pieces`, without knowing how many there must be.
pub(super) fn piece_hashes(bytes: &[u8]) -> Option<Arc<[PieceHash]>> {
    let (hashes, rest) = bytes.as_chunks::<20>();
    rest.is_empty().then(|| hashes.iter().copied().map(PieceHash).collect())
}
