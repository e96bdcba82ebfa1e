//! What people say about a name: a description and tags.

use crate::limits::{DESCRIPTION_LEN_MAX, TAG_LEN_MAX, TAGS_MAX};

/// A description and tags that fit the rules. What is `None` stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    description: Option<String>,
    tags: Option<Vec<String>>,
}

/// Why something is no description or tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AboutError {
    /// The description is too long.
    #[error("a description has at most {DESCRIPTION_LEN_MAX} bytes")]
    DescriptionTooLong,
    /// Control characters.
    #[error("a description cannot have control characters but line feeds")]
    DescriptionControl,
    /// Too many tags.
    #[error("a name has at most {TAGS_MAX} tags")]
    TooManyTags,
    /// One of them is too long.
    #[error("a tag has at most {TAG_LEN_MAX} bytes")]
    TagTooLong,
    /// White space or control characters.
    #[error("a tag cannot have white space or control characters")]
    TagSpace,
}

impl About {
    /// Checks them. Tags are folded to lower case, sorted, and each stands once; empty ones are left
    /// out, so that one empty tag clears the list.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn new(description: Option<String>, tags: Option<Vec<String>>) -> Result<Self, AboutError> {
        if let Some(text) = &description {
            if text.len() > DESCRIPTION_LEN_MAX {
                return Err(AboutError::DescriptionTooLong);
            }
            if text.chars().any(|char| char.is_control() && char != '\n') {
                return Err(AboutError::DescriptionControl);
            }
        }
        let tags = tags.map(checked).transpose()?;
        Ok(Self { description: description.map(|text| text.trim().to_owned()), tags })
    }

    /// The description, if it is to change.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The tags, if they are to change.
    #[must_use]
    pub fn tags(&self) -> Option<&[String]> {
        self.tags.as_deref()
    }
}

fn checked(tags: Vec<String>) -> Result<Vec<String>, AboutError> {
    let mut folded = Vec::new();
    for tag in tags.into_iter().filter(|tag| !tag.is_empty()) {
        let tag = tag.to_lowercase();
        if tag.len() > TAG_LEN_MAX {
            return Err(AboutError::TagTooLong);
        }
        if tag.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(AboutError::TagSpace);
        }
        folded.push(tag);
        if folded.len() > TAGS_MAX {
            return Err(AboutError::TooManyTags);
        }
    }
    folded.sort_unstable();
    folded.dedup();
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[&str]) -> Result<Vec<String>, AboutError> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        About::new(None, Some(tags)).map(|about| about.tags.unwrap_or_default())
    }

    #[test]
    fn tags_are_few_short_words() {
        assert_eq!(tags(&["Linux", "iso", "linux", ""]), Ok(vec!["iso".into(), "linux".into()]));
        assert_eq!(tags(&[""]), Ok(Vec::new()));
        assert_eq!(tags(&["größe"]), Ok(vec!["größe".into()]));
        assert_eq!(tags(&["two words"]), Err(AboutError::TagSpace));
        assert_eq!(tags(&["a\u{1b}"]), Err(AboutError::TagSpace));
        assert_eq!(tags(&[&"x".repeat(TAG_LEN_MAX + 1)]), Err(AboutError::TagTooLong));
        assert_eq!(tags(&["x"; TAGS_MAX + 1]), Err(AboutError::TooManyTags));
    }

    #[test]
    fn descriptions_are_short_texts() {
        let description = |text: &str| {
            About::new(Some(text.to_owned()), None).map(|about| about.description.unwrap())
        };
        assert_eq!(description(" two\nlines \n"), Ok("two\nlines".to_owned()));
        assert_eq!(description("\u{1b}[2J"), Err(AboutError::DescriptionControl));
        let long = "x".repeat(DESCRIPTION_LEN_MAX + 1);
        assert_eq!(description(&long), Err(AboutError::DescriptionTooLong));
    }
}
