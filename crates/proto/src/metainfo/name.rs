//! Which names of files and folders are accepted.
//!
//! Nothing is renamed: what is accepted is used as it is, what is not is refused, so that a name
//! means the same file on every machine and in every client. Refused is what could leave the folder
//! on any system (separators, `.`, `..`, drive letters), what no system can hold or must not open
//! (empty, too long, device names), and what hides in a terminal (control characters, overrides of
//! the direction of writing). Characters that only Windows dislikes (`?`, a dot at the end,
//! `aux.c`) are common in real torrents and stay: they harm nobody.

use super::limits::{DEPTH_MAX, NAME_LEN_MAX, PATH_LEN_MAX};
use super::{File, MetainfoError};

/// Checks a path of at least one component.
pub(super) fn check_path<S: AsRef<str>>(path: &[S]) -> Result<(), MetainfoError> {
    let refused = |reason| Err(MetainfoError::path(path, reason));
    if path.is_empty() {
        return refused("is empty");
    }
    if path.len() > DEPTH_MAX {
        return refused("is in too many folders");
    }
    if path.iter().map(|name| name.as_ref().len() + 1).sum::<usize>() > PATH_LEN_MAX {
        return refused("is too long");
    }
    for name in path {
        if let Err(reason) = check_name(name.as_ref()) {
            return refused(reason);
        }
    }
    Ok(())
}

/// Checks one name of a file or folder.
///
/// # Errors
/// What is wrong, as the rest of a sentence about its path.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let bytes = name.as_bytes();
    if name.is_empty() {
        Err("has an empty name")
    } else if name.len() > NAME_LEN_MAX {
        Err("has a name longer than 255 bytes")
    } else if name.contains(['/', '\\']) {
        Err("has a separator inside a name")
    } else if name.chars().any(is_hidden_control) {
        Err("has a control character")
    } else if bytes.iter().all(|byte| matches!(byte, b'.' | b' ')) {
        Err("has a name of dots and spaces only")
    } else if bytes[0].is_ascii_alphabetic() && bytes.get(1) == Some(&b':') {
        Err("has a drive letter")
    } else if is_device(name) {
        Err("has a name that is reserved for devices")
    } else {
        Ok(())
    }
}

/// Control characters, and those that reorder or break the text around them.
pub(super) fn is_hidden_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with such characters replaced by U+FFFD, for what is shown and never used as a path.
pub(crate) fn without_controls(text: &str) -> String {
    let harmless = |c| if is_hidden_control(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(harmless).collect()
}

/// Device names of Windows, also with dots and spaces behind them.
fn is_device(name: &str) -> bool {
    let stem = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        _ => {
            let number = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
            number.is_some_and(|rest| matches!(rest, "¹" | "²" | "³") || is_one_to_nine(rest))
        }
    }
}

fn is_one_to_nine(text: &str) -> bool {
    matches!(text.as_bytes(), [b'1'..=b'9'])
}

/// Refuses files of one path and files that are also folders. Names that differ in case only are two
/// names: source trees have them, and where a file system takes them as one, the disk refuses the
/// second rather than mixing both.
pub(super) fn check_unique(files: &[File]) -> Result<(), MetainfoError> {
    let mut keys: Vec<(String, usize)> =
        files.iter().enumerate().map(|(index, file)| (joined(&file.path), index)).collect();
    keys.sort_unstable();
    // The joining byte sorts before all others, so what is inside `a` follows `a` at once.
    for pair in keys.windows(2) {
        let [(first, _), (second, index)] = pair else { continue };
        let Some(rest) = second.strip_prefix(first.as_str()) else { continue };
        let reason = match rest.as_bytes().first() {
            None => "is there twice",
            Some(0) => "is inside another file",
            Some(_) => continue,
        };
        return Err(MetainfoError::path(&files[*index].path, reason));
    }
    Ok(())
}

fn joined(path: &[String]) -> String {
    path.join("\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        let long = "x".repeat(255);
        let names = [
            "a",
            "a.b",
            ".hidden",
            "..a",
            "a..",
            "E.T.",
            "what?.txt",
            "Öl",
            "日本語.txt",
            "e\u{301}",
            "\u{1f469}\u{200d}\u{1f680}",
            "aux.c",
            "console",
            "com0",
            "com10",
            "lpt",
            "ab:c",
            "12:30",
            " lead",
            "trail ",
            "נ\u{200f}",
            "\"quoted\"",
            "<img src=x>",
            "; touch x; ",
            "$(x)",
            &long,
        ];
        for name in names {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn device_names_are_refused_in_every_spelling() {
        let mut devices: Vec<String> = ["con", "prn", "aux", "nul"].map(String::from).into();
        for number in 1..=9 {
            devices.push(format!("com{number}"));
            devices.push(format!("lpt{number}"));
        }
        for device in devices {
            for name in [device.clone(), device.to_uppercase(), format!("{device}."), device + " "]
            {
                let refused = Err("has a name that is reserved for devices");
                assert_eq!(check_name(&name), refused, "{name}");
            }
        }
    }

    #[test]
    fn names_that_could_leave_the_folder_or_hide_are_refused() {
        let cases = [
            ("", "has an empty name"),
            (".", "has a name of dots and spaces only"),
            ("..", "has a name of dots and spaces only"),
            (".. ", "has a name of dots and spaces only"),
            ("...", "has a name of dots and spaces only"),
            (" ", "has a name of dots and spaces only"),
            ("/", "has a separator inside a name"),
            ("/etc", "has a separator inside a name"),
            ("a/b", "has a separator inside a name"),
            ("..\\x", "has a separator inside a name"),
            ("C:", "has a drive letter"),
            ("c:x", "has a drive letter"),
            ("a\0b", "has a control character"),
            ("a\nb", "has a control character"),
            ("\u{1b}[2J", "has a control character"),
            ("a\u{85}b", "has a control character"),
            ("gpj.\u{202e}exe", "has a control character"),
            ("a\u{2066}b", "has a control character"),
            ("a\u{2028}b", "has a control character"),
        ];
        for (name, reason) in cases {
            assert_eq!(check_name(name), Err(reason), "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(256)), Err("has a name longer than 255 bytes"));
    }

    #[test]
    fn depth_and_length_of_paths_are_bounded() {
        assert!(check_path(&["d"; DEPTH_MAX]).is_ok());
        let deep = check_path(&["d"; DEPTH_MAX + 1]).unwrap_err().to_string();
        assert!(deep.ends_with("is in too many folders"), "{deep}");
        let long = vec!["x".repeat(255); 17];
        assert!(check_path(&long[..16]).is_ok());
        assert!(check_path(&long).unwrap_err().to_string().ends_with("is too long"));
    }
}
