//! The v2 half of an info dictionary: `file tree` (BEP 52, 47).

use super::decode::{Content, check_end, component, decode_attributes, decode_len};
use super::limits::{DEPTH_MAX, FILE_COUNT_MAX};
use super::{File, MetainfoError, name};
use crate::bencode::{Dict, Entries};
use crate::{MerkleHash, merkle};

const KEY: &str = "file tree";

pub(super) fn decode_files(dict: Dict<'_, '_>, piece_len: u32) -> Result<Content, MetainfoError> {
    let tree = dict.get(KEY.as_bytes()).ok_or(MetainfoError::Missing { key: KEY })?;
    let tree = tree.dict().ok_or(MetainfoError::invalid(KEY, "is not a dictionary"))?;
    let mut content = Content { files: Vec::new(), link_numbers: Vec::new(), end: 0 };
    // One entry for each folder that is open; `path` names them.
    let mut open: Vec<Entries<'_, '_>> = vec![tree.iter()];
    let mut path: Vec<&str> = Vec::new();
    while let Some(entries) = open.last_mut() {
        let Some((key, value)) = entries.next() else {
            open.pop();
            path.pop();
            continue;
        };
        let dict = value.dict();
        let dict = dict.ok_or(MetainfoError::invalid(KEY, "has an entry that is no dictionary"))?;
        path.push(component(key, &path)?);
        if path.len() > DEPTH_MAX {
            return Err(MetainfoError::path(&path, "is in too many folders"));
        }
        if let Some(properties) = file_properties(dict, &path)? {
            name::check_path(&path)?;
            let file = decode_file(properties, &path, &mut content.end, piece_len)?;
            if content.files.len() >= FILE_COUNT_MAX {
                return Err(MetainfoError::TooLarge {
                    what: "files",
                    limit: FILE_COUNT_MAX as u64,
                });
            }
            // Others count a pad behind each file that does not fill its last piece, as in a hybrid.
            let last = content.files.last().zip(content.link_numbers.last());
            let number = last.map_or(0, |(file, number)| {
                number + 1 + u32::from(!file.len.is_multiple_of(u64::from(piece_len)))
            });
            content.link_numbers.push(number);
            content.files.push(file);
            path.pop();
        } else {
            open.push(dict.iter());
        }
    }
    if content.files.is_empty() {
        return Err(MetainfoError::invalid(KEY, "has no files"));
    }
    Ok(content)
}

/// What stands under the empty key, if the entry is a file.
fn file_properties<'a, 'd>(
    dict: Dict<'a, 'd>,
    path: &[&str],
) -> Result<Option<Dict<'a, 'd>>, MetainfoError> {
    let mut entries = dict.iter();
    // Keys are sorted, so the empty one comes first.
    let Some((b"", properties)) = entries.next() else { return Ok(None) };
    if entries.next().is_some() {
        return Err(MetainfoError::path(path, "is a file and a folder"));
    }
    let properties = properties.dict();
    let properties =
        properties.ok_or(MetainfoError::invalid(KEY, "has a file without properties"))?;
    Ok(Some(properties))
}

fn decode_file(
    dict: Dict<'_, '_>,
    path: &[&str],
    end: &mut u64,
    piece_len: u32,
) -> Result<File, MetainfoError> {
    let attributes = decode_attributes(dict)?;
    if attributes.pad {
        return Err(MetainfoError::path(path, "is a pad file, which v2 does not have"));
    }
    let length = dict.get(b"length");
    let is_link = attributes.symlink.is_some();
    let len = if is_link && length.is_none() { 0 } else { decode_len(length)? };
    if is_link && len > 0 {
        return Err(MetainfoError::path(path, "is a link with a length"));
    }
    let root = if len == 0 { None } else { Some(decode_root(dict, path)?) };
    let offset = if len == 0 { *end } else { end.next_multiple_of(u64::from(piece_len)) };
    *end = check_end(offset + len)?;
    Ok(File {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        len,
        offset,
        executable: attributes.executable,
        hidden: attributes.hidden,
        symlink: attributes.symlink,
        root,
    })
}

fn decode_root(dict: Dict<'_, '_>, path: &[&str]) -> Result<MerkleHash, MetainfoError> {
    let Some(value) = dict.get(b"pieces root") else {
        return Err(MetainfoError::file(path, "has no pieces root"));
    };
    let root = value.bytes().and_then(|bytes| bytes.try_into().ok()).map(MerkleHash);
    match root {
        None => Err(MetainfoError::file(path, "has a pieces root that is no hash")),
        Some(merkle::MISSING) => Err(MetainfoError::file(path, "has a pieces root of zeros")),
        Some(root) => Ok(root),
    }
}
