//! Packets of the uTorrent transport protocol (BEP 29), version 1.
//!
//! A packet is a header of 20 bytes, a chain of extensions and a payload. Of the extensions the
//! selective acknowledgement is read; all others are skipped. Sequence numbers count packets and wrap.

use crate::DecodeError;
use crate::reader::Reader;

/// Bytes of the header.
pub const HEADER_LEN: usize = 20;

/// The longest mask of a selective acknowledgement, by its length field.
pub const SACK_LEN_MAX: usize = 255;

/// Extensions read of one packet. Implementations send two at most.
pub const EXTENSIONS_MAX: usize = 8;

const WHAT: &str = "uTP packet";
const VERSION: u8 = 1;
const SACK: u8 = 1;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It carries bytes of the stream.
    Data,
    /// The last packet of its direction.
    Fin,
    /// It only acknowledges.
    State,
    /// The connection is unknown or broken off.
    Reset,
    /// The first packet of a connection.
    Syn,
}

/// A number that counts packets, modulo 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seq(pub u16);

impl Seq {
    /// The number that many packets later.
    #[must_use]
    pub const fn plus(self, packets: u16) -> Self {
        Self(self.0.wrapping_add(packets))
    }

    /// The number that many packets before.
    #[must_use]
    pub const fn minus(self, packets: u16) -> Self {
        Self(self.0.wrapping_sub(packets))
    }

    /// How many packets this is after `earlier`, at most 32,767; negative when it is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed() as i32
    }
}

/// The fixed part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// Which connection it belongs to: the number that its receiver expects.
    pub connection_id: u16,
    /// The sender's clock in microseconds, modulo 2^32, when it was sent.
    pub sent_micros: u32,
    /// How long the last packet in the other direction took, in microseconds, by both clocks.
    pub delay_micros: u32,
    /// Bytes that the sender of the packet has room for.
    pub window: u32,
    /// The packet's number, or of one without payload the next number.
    pub seq: Seq,
    /// The last packet that came with all before it.
    pub ack: Seq,
}

impl Header {
    /// Writes the header, and a selective acknowledgement if there is one: its mask, which should be whole
    /// words of four bytes.
    pub fn encode(&self, sack: &[u8], out: &mut Vec<u8>) {
        debug_assert!(sack.len() <= SACK_LEN_MAX);
        let kind: u8 = match self.kind {
            Kind::Data => 0,
            Kind::Fin => 1,
            Kind::State => 2,
            Kind::Reset => 3,
            Kind::Syn => 4,
        };
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = kind << 4 | VERSION;
        bytes[1] = if sack.is_empty() { 0 } else { SACK };
        bytes[2..4].copy_from_slice(&self.connection_id.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sent_micros.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.delay_micros.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.window.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[18..20].copy_from_slice(&self.ack.0.to_be_bytes());
        out.extend_from_slice(&bytes);
        if !sack.is_empty() {
            out.extend_from_slice(&[0, sack.len() as u8]);
            out.extend_from_slice(sack);
        }
    }
}

/// Which packets came although one before them is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectiveAck<'a> {
    ack: Seq,
    mask: &'a [u8],
}

impl<'a> SelectiveAck<'a> {
    /// The numbers of those packets, in order.
    pub fn received(self) -> impl Iterator<Item = Seq> + 'a {
        // The packet right after the acknowledged one is missing: the mask begins with the next.
        let first = self.ack.plus(2);
        self.mask.iter().enumerate().flat_map(move |(at, &byte)| {
            let bits = (0..8).filter(move |bit| byte >> bit & 1 == 1);
            bits.map(move |bit| first.plus(at as u16 * 8 + bit))
        })
    }

    /// The mask as it travels: the lowest bit of the first byte is the second packet after the
    /// acknowledged one.
    #[must_use]
    pub const fn mask(self) -> &'a [u8] {
        self.mask
    }
}

/// A packet as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part.
    pub header: Header,
    /// The selective acknowledgement, if it has one.
    pub sack: Option<SelectiveAck<'a>>,
    /// Bytes of the stream.
    pub payload: &'a [u8],
}

/// Whether a datagram claims to be of this protocol: its first byte tells. Others that share the port,
/// such as the DHT's dictionaries, start otherwise.
#[must_use]
pub fn is_packet(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first & 0x0f == VERSION && first >> 4 <= 4)
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(WHAT, datagram);
        let first = reader.u8()?;
        if first & 0x0f != VERSION {
            return Err(DecodeError::invalid(WHAT, "not version 1"));
        }
        let kind = match first >> 4 {
            0 => Kind::Data,
            1 => Kind::Fin,
            2 => Kind::State,
            3 => Kind::Reset,
            4 => Kind::Syn,
            _ => return Err(DecodeError::invalid(WHAT, "unknown type")),
        };
        let mut extension = reader.u8()?;
        let header = Header {
            kind,
            connection_id: reader.u16()?,
            sent_micros: reader.u32()?,
            delay_micros: reader.u32()?,
            window: reader.u32()?,
            seq: Seq(reader.u16()?),
            ack: Seq(reader.u16()?),
        };
        let mut sack = None;
        let mut extensions = 0;
        while extension != 0 {
            extensions += 1;
            if extensions > EXTENSIONS_MAX {
                let limit = EXTENSIONS_MAX as u64;
                return Err(DecodeError::TooLong { what: "uTP extensions", limit });
            }
            let next = reader.u8()?;
            let len = usize::from(reader.u8()?);
            let data = reader.take(len)?;
            if extension == SACK {
                // Whole words of four bytes, says the specification; libtorrent sends any number of bytes.
                sack = Some(SelectiveAck { ack: header.ack, mask: data });
            }
            extension = next;
        }
        Ok(Self { header, sack, payload: reader.rest() })
    }
}

#[cfg(test)]
mod tests;
