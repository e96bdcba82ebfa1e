//! What is wrong with bytes that came from outside.

/// Bytes that do not decode. Says what was being read, never echoes the bytes themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("{what}: the data ends too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes follow where the value should have ended.
    #[error("{what}: unexpected data after the end")]
    Trailing {
        /// What was being read.
        what: &'static str,
    },
    /// A length, count or depth is above its limit.
    #[error("{what}: more than the limit of {limit}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// The largest value accepted.
        limit: u64,
    },
    /// The bytes are there, but the value is not allowed.
    #[error("{what}: {reason}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Why it is refused.
        reason: &'static str,
    },
}

impl DecodeError {
    /// An [`DecodeError::Invalid`], shorter to write.
    #[must_use]
    pub const fn invalid(what: &'static str, reason: &'static str) -> Self {
        Self::Invalid { what, reason }
    }
}
