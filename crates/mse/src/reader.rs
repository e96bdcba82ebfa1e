//! What has come and was not looked at yet.

use crate::MseError;
use crate::cipher::Cipher;

#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next bytes, once all of them are there.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.rest().first_chunk()?;
        self.at += N;
        Some(bytes)
    }

    /// The same, of noise.
    pub(crate) fn take_noise<const N: usize>(&mut self, cipher: &mut Cipher) -> Option<[u8; N]> {
        let mut bytes = self.take()?;
        cipher.apply(&mut bytes);
        Some(bytes)
    }

    /// So many bytes of noise, once all of them are there.
    pub(crate) fn take_noise_of(&mut self, len: usize, cipher: &mut Cipher) -> Option<Vec<u8>> {
        let mut bytes = self.rest().get(..len)?.to_vec();
        cipher.apply(&mut bytes);
        self.at += len;
        Some(bytes)
    }

    /// Goes behind a mark that padding of up to `pad_len_max` bytes stands before. False when more has to come.
    ///
    /// # Errors
    /// When the mark cannot come any more.
    pub(crate) fn skip_to<const N: usize>(
        &mut self,
        mark: &[u8; N],
        pad_len_max: usize,
    ) -> Result<bool, MseError> {
        let rest = self.rest();
        let window = &rest[..rest.len().min(pad_len_max + N)];
        match window.windows(N).position(|part| part == mark) {
            Some(pad_len) => {
                self.at += pad_len + N;
                Ok(true)
            }
            None if window.len() < pad_len_max + N => Ok(false),
            None => Err(MseError::NoSync),
        }
    }

    /// All that is left.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        *self = Self::default();
        rest
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

/// A length of 16 bits, within its bound.
pub(crate) fn length(bytes: [u8; 2], what: &'static str, max: usize) -> Result<usize, MseError> {
    let len = usize::from(u16::from_be_bytes(bytes));
    if len <= max { Ok(len) } else { Err(MseError::TooLong { what, len, max }) }
}
