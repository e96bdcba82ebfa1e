//! What seeders and leechers send by UDP.

use std::net::IpAddr;

use super::limits::{CHUNK_LIST_LEN_MAX, DATAGRAM_LEN_MAX, NAME_LEN_MAX};
use crate::DecodeError;

/// A datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `register; NAME; IP; PORT; SIZE`: a seeder is there. Not answered.
    Register(Register),
    /// `list_seeder`: which seeders are there?
    ListSeeder,
}

/// A seeder says where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name: one line of 1 to 255 bytes without semicolons.
    pub name: String,
    /// The address that it believes to have. Anybody can claim anything.
    pub ip: IpAddr,
    /// Where it serves chunks; not 0.
    pub port: u16,
    /// Bytes in its chunk list, at most 1 MiB.
    pub size: u32,
}

impl Request {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is anything else; nobody is told.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(DecodeError::TooLong { what: WHAT, limit: DATAGRAM_LEN_MAX as u64 });
        }
        let invalid = |reason| DecodeError::Invalid { what: WHAT, reason };
        let text = std::str::from_utf8(datagram).map_err(|_| invalid("it is not UTF-8"))?;
        let mut fields = text.split(';').map(str::trim);
        let word = fields.next();
        let fields: Vec<&str> = fields.take(FIELDS_MAX + 1).collect();
        match (word, fields.as_slice()) {
            (Some("list_seeder"), []) => Ok(Self::ListSeeder),
            (Some("register"), &[name, ip, port, size]) => {
                if !is_name(name) {
                    return Err(invalid("the name is empty, too long, or has control characters"));
                }
                let name = name.to_owned();
                let ip = ip.parse().map_err(|_| invalid("the address is none"))?;
                let port = port.parse().ok().filter(|port| *port != 0);
                let port = port.ok_or_else(|| invalid("the port is not 1 to 65535"))?;
                let size = size.parse().ok().filter(|size| *size as usize <= CHUNK_LIST_LEN_MAX);
                let size = size.ok_or_else(|| invalid("the size is not 0 to 1 MiB"))?;
                Ok(Self::Register(Register { name, ip, port, size }))
            }
            _ => Err(invalid("it is neither a register nor a list_seeder")),
        }
    }

    /// Appends the datagram.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Register(Register { name, ip, port, size }) => {
                format!("register; {name}; {ip}; {port}; {size}")
            }
            Self::ListSeeder => "list_seeder".to_owned(),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// Whether a seeder may be called that.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c == ';')
}

const WHAT: &str = "datagram";
/// Fields behind `register`.
const FIELDS_MAX: usize = 4;
