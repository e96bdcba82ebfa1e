//! The v1 half of an info dictionary: `length` or `files`, and `pieces` (BEP 3, 47).

use std::sync::Arc;

use super::decode::{
    Attributes, Content, check_end, decode_attributes, decode_len, decode_path, piece_hashes,
};
use super::limits::FILE_COUNT_MAX;
use super::{File, MetainfoError};
use crate::PieceHash;
use crate::bencode::{Dict, Value};

pub(super) fn decode_files(dict: Dict<'_, '_>, name: &str) -> Result<Content, MetainfoError> {
    let (length, files) = (dict.get(b"length"), dict.get(b"files"));
    match (length, files) {
        (Some(_), Some(_)) => Err(MetainfoError::invalid("files", "stands beside `length`")),
        (None, None) => Err(MetainfoError::Missing { key: "length" }),
        (Some(_), None) => {
            let attributes = Attributes { pad: false, ..decode_attributes(dict)? };
            let (file, end) = decode_file(dict, vec![name.to_owned()], attributes, 0)?;
            Ok(Content { files: vec![file], link_numbers: Vec::new(), end })
        }
        (None, Some(files)) => decode_list(files),
    }
}

fn decode_list(files: Value<'_, '_>) -> Result<Content, MetainfoError> {
    let list = files.list().ok_or(MetainfoError::invalid("files", "is not a list"))?;
    let mut content = Content { files: Vec::new(), link_numbers: Vec::new(), end: 0 };
    for (count, item) in list.iter().enumerate() {
        if count >= FILE_COUNT_MAX {
            return Err(MetainfoError::TooLarge { what: "files", limit: FILE_COUNT_MAX as u64 });
        }
        let dict = item.dict();
        let dict =
            dict.ok_or(MetainfoError::invalid("files", "has an entry that is no dictionary"))?;
        let attributes = decode_attributes(dict)?;
        if attributes.pad {
            content.end = check_end(content.end + decode_len(dict.get(b"length"))?)?;
            continue;
        }
        let path = dict.get(b"path.utf-8").or_else(|| dict.get(b"path"));
        let path = decode_path(path.ok_or(MetainfoError::Missing { key: "path" })?, "path")?;
        let (file, end) = decode_file(dict, path, attributes, content.end)?;
        content.files.push(file);
        content.link_numbers.push(count as u32);
        content.end = end;
    }
    if content.link_numbers.last().is_none_or(|last| *last as usize + 1 == content.files.len()) {
        content.link_numbers = Vec::new();
    }
    if content.files.is_empty() {
        return Err(MetainfoError::invalid("files", "has no files"));
    }
    Ok(content)
}

fn decode_file(
    dict: Dict<'_, '_>,
    path: Vec<String>,
    attributes: Attributes,
    offset: u64,
) -> Result<(File, u64), MetainfoError> {
    let length = dict.get(b"length");
    let is_link = attributes.symlink.is_some();
    let len = if is_link && length.is_none() { 0 } else { decode_len(length)? };
    if is_link && len > 0 {
        return Err(MetainfoError::path(&path, "is a link with a length"));
    }
    let Attributes { pad: _, executable, hidden, symlink } = attributes;
    let file = File { path, len, offset, executable, hidden, symlink, root: None };
    Ok((file, check_end(offset + len)?))
}

/// The hashes of `count` pieces.
pub(super) fn decode_pieces(
    dict: Dict<'_, '_>,
    count: u64,
) -> Result<Arc<[PieceHash]>, MetainfoError> {
    const KEY: &str = "pieces";
    let value = dict.get(KEY.as_bytes()).ok_or(MetainfoError::Missing { key: KEY })?;
    let bytes = value.bytes().ok_or(MetainfoError::invalid(KEY, "is not a string"))?;
    if bytes.len() as u64 != count * PieceHash::LEN as u64 {
        return Err(MetainfoError::invalid(KEY, "does not have one hash for each piece"));
    }
    piece_hashes(bytes).ok_or(MetainfoError::invalid(KEY, "is no list of hashes"))
}
