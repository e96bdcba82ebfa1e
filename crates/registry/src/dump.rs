//! The swarms as a file, so that peers outlive a restart of the tracker.
//!
//! All numbers are little-endian. `TEEMPEER`, the version (u32), when it was written (u64, seconds
//! since 1970), then blocks: length (u32), that many bytes, and a checksum (u64). An empty block ends
//! the file. A checksum covers everything before it, so blocks cannot be lost or change places. A block
//! holds whole records: info hash (20), completed (u32), number of peers (u32), and each peer as
//! flags (bit 0 seeder, 1 and 2 its names, 3 IPv6), client class (u8), the rest of its life in seconds
//! (u16), address (4 or 16) and port (u16, big-endian as on the wire). A hash may have several records.
//!
//! The checksum finds damage, not forgery: whoever can write the file owns the tracker.

use std::hash::Hasher as _;
use std::io::{self, Read};

use proto::InfoHash;
use siphasher::sip::SipHasher24;

use crate::client::ClientClass;
use crate::feed::Presence;
use crate::key::{PeerKey, addr_of};
use crate::limits::INTAKE_LIFE_MAX_SECS;
use crate::mark::Names;
use crate::peers::Role;
use crate::shard::Seen;

/// Makes the bytes of a dump, a stretch at a time.
#[derive(Debug)]
pub struct DumpWriter {
    ready: Vec<u8>,
    block: Vec<u8>,
    /// Where the number of peers of the last record stands in the block, and that number.
    record: Option<(usize, u32)>,
    swarm: Option<(InfoHash, u32)>,
    sum: SipHasher24,
}

/// One record of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmDump {
    /// The hash that the swarm was kept under.
    pub info_hash: InfoHash,
    /// Downloads that ended.
    pub completed: u32,
    /// Some of its peers.
    pub peers: Vec<Presence>,
}

/// A dump cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Its file cannot.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is something else, or damaged.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// A newer program wrote it.
    #[error("the file has version {0}, which this program does not know")]
    Version(u32),
}

impl DumpWriter {
    /// An empty dump; `written` in seconds since 1970.
    #[must_use]
    pub fn new(written: u64) -> Self {
        let mut ready = MAGIC.to_vec();
        ready.extend_from_slice(&VERSION.to_le_bytes());
        ready.extend_from_slice(&written.to_le_bytes());
        let mut sum = SipHasher24::new();
        sum.write(&ready);
        Self { ready, block: Vec::new(), record: None, swarm: None, sum }
    }

    /// Adds what a walk comes by.
    pub fn push(&mut self, seen: &Seen) {
        match seen {
            Seen::Swarm(facts) => {
                self.end_record();
                self.swarm = Some((facts.info_hash, facts.counts.completed));
                self.begin_record();
            }
            Seen::Peer(peer) => {
                if self.block.len() >= BLOCK_LEN {
                    self.end_record();
                    self.begin_record();
                }
                self.peer(peer);
            }
        }
    }

    /// Takes the bytes that are ready, leaving the place empty.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    /// The last bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end_record();
        if !self.block.is_empty() {
            self.end_block();
        }
        // The empty one at the end.
        self.end_block();
        self.ready
    }

    fn begin_record(&mut self) {
        let Some((info_hash, completed)) = self.swarm else { return };
        self.block.extend_from_slice(&info_hash.0);
        self.block.extend_from_slice(&completed.to_le_bytes());
        self.record = Some((self.block.len(), 0));
        self.block.extend_from_slice(&[0; 4]);
    }

    fn end_record(&mut self) {
        let Some((at, count)) = self.record.take() else { return };
        if let Some(place) = self.block.get_mut(at..at + 4) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        if self.block.len() >= BLOCK_LEN {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let start = self.ready.len();
        self.ready.extend_from_slice(&(self.block.len() as u32).to_le_bytes());
        self.ready.append(&mut self.block);
        self.sum.write(&self.ready[start..]);
        self.ready.extend_from_slice(&self.sum.finish().to_le_bytes());
    }

    fn peer(&mut self, peer: &Presence) {
        let Some((_, count)) = &mut self.record else { return };
        *count += 1;
        let key = PeerKey::new(peer.peer);
        let is_v6 = matches!(key, PeerKey::V6(_));
        let flags = u8::from(peer.role == Role::Seeder)
            | peer.names.bits() << NAMES_AT
            | u8::from(is_v6) << V6_AT;
        let life = u16::try_from(peer.life_secs).unwrap_or(u16::MAX);
        self.block.extend_from_slice(&[flags, peer.class.number()]);
        self.block.extend_from_slice(&life.to_le_bytes());
        match key {
            PeerKey::V4(key) => self.block.extend_from_slice(&key),
            PeerKey::V6(key) => self.block.extend_from_slice(&key),
        }
    }
}

/// Reads a dump block by block, in bounded memory.
#[derive(Debug)]
pub struct DumpReader<R> {
    from: R,
    sum: SipHasher24,
    written: u64,
}

impl<R: Read> DumpReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// When it is no dump.
    pub fn new(mut from: R) -> Result<Self, DumpError> {
        let mut head = [0; HEAD_LEN];
        from.read_exact(&mut head).map_err(too_short)?;
        let mut fields = Fields(&head);
        if fields.array() != Some(*MAGIC) {
            return Err(DumpError::Damaged("it does not begin as a list of peers does"));
        }
        let version = fields.u32().unwrap_or_default();
        if version != VERSION {
            return Err(DumpError::Version(version));
        }
        let written = fields.array().map_or(0, u64::from_le_bytes);
        let mut sum = SipHasher24::new();
        sum.write(&head);
        Ok(Self { from, sum, written })
    }

    /// When it was written, in seconds since 1970.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The records of the next block; `None` at the end.
    ///
    /// # Errors
    /// When the file ends too early or was changed.
    pub fn block(&mut self) -> Result<Option<Vec<SwarmDump>>, DumpError> {
        let mut len = [0; 4];
        self.from.read_exact(&mut len).map_err(too_short)?;
        self.sum.write(&len);
        let len = u32::from_le_bytes(len) as usize;
        if len > BLOCK_LEN_MAX {
            return Err(DumpError::Damaged("a block is too long"));
        }
        let mut block = vec![0; len];
        self.from.read_exact(&mut block).map_err(too_short)?;
        self.sum.write(&block);
        let mut sum = [0; 8];
        self.from.read_exact(&mut sum).map_err(too_short)?;
        if u64::from_le_bytes(sum) != self.sum.finish() {
            return Err(DumpError::Damaged("a checksum is wrong"));
        }
        if block.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields(&block);
        let mut records = Vec::new();
        while !fields.0.is_empty() {
            let record = fields.record();
            records.push(record.ok_or(DumpError::Damaged("a record cannot be read"))?);
        }
        Ok(Some(records))
    }
}

fn too_short(error: io::Error) -> DumpError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return DumpError::Damaged("it ends too early");
    }
    DumpError::Read(error)
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn record(&mut self) -> Option<SwarmDump> {
        let info_hash = InfoHash(self.array()?);
        let completed = self.u32()?;
        let count = self.u32()? as usize;
        // No more than can be there, whatever is claimed.
        let mut peers = Vec::with_capacity(count.min(self.0.len() / PEER_LEN_MIN));
        for _ in 0..count {
            peers.push(self.peer()?);
        }
        Some(SwarmDump { info_hash, completed, peers })
    }

    fn peer(&mut self) -> Option<Presence> {
        let [flags, class] = self.array()?;
        let life_secs = u32::from(self.array().map(u16::from_le_bytes)?);
        let names = Names::from_bits(flags >> NAMES_AT & 3)?;
        let peer = match flags >> V6_AT {
            0 => addr_of::<6>(&self.array()?),
            1 => addr_of::<18>(&self.array()?),
            _ => return None,
        };
        let role = if flags & 1 == 1 { Role::Seeder } else { Role::Leecher };
        let fits = peer.port() > 0 && (1..=INTAKE_LIFE_MAX_SECS).contains(&life_secs);
        let class = ClientClass::from_number(class);
        fits.then_some(Presence { peer, role, names, class, life_secs })
    }
}

const MAGIC: &[u8; 8] = b"TEEMPEER";
const VERSION: u32 = 1;
const HEAD_LEN: usize = 20;
const NAMES_AT: u32 = 1;
const V6_AT: u32 = 3;
const PEER_LEN_MIN: usize = 10;
const PEER_LEN_MAX: usize = 22;
const RECORD_HEAD_LEN: usize = 28;
/// A block that has reached this ends.
const BLOCK_LEN: usize = 64 << 10;
const BLOCK_LEN_MAX: usize = BLOCK_LEN + RECORD_HEAD_LEN + PEER_LEN_MAX;
// A life is stored in 16 bits.
const _: () = assert!(INTAKE_LIFE_MAX_SECS <= u16::MAX as u32);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use proto::tracker::SwarmCounts;

    use super::*;
    use crate::shard::SwarmFacts;

    fn any_peer() -> impl Strategy<Value = Presence> {
        let addr = (any::<bool>(), any::<[u8; 16]>(), 1_u16..);
        (addr, any::<bool>(), 1_u8..4, 0_u8..17, 1_u32..=INTAKE_LIFE_MAX_SECS).prop_map(
            |((is_v6, ip, port), is_seeder, names, class, life_secs)| {
                let v4 = || SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port));
                let peer = if is_v6 { SocketAddr::from((ip, port)) } else { v4() };
                Presence {
                    peer: SocketAddr::new(peer.ip().to_canonical(), port),
                    role: if is_seeder { Role::Seeder } else { Role::Leecher },
                    names: Names::from_bits(names).expect("these bits have a meaning"),
                    class: ClientClass::from_number(class),
                    life_secs,
                }
            },
        )
    }

    fn dump(swarms: &[SwarmDump]) -> Vec<u8> {
        let mut writer = DumpWriter::new(1_700_000_000);
        let mut bytes = Vec::new();
        for swarm in swarms {
            let counts = SwarmCounts { completed: swarm.completed, ..SwarmCounts::default() };
            let info_hash = swarm.info_hash;
            writer.push(&Seen::Swarm(SwarmFacts { info_hash, second: None, counts }));
            for peer in &swarm.peers {
                writer.push(&Seen::Peer(*peer));
            }
            bytes.append(&mut writer.take());
        }
        bytes.append(&mut writer.finish());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<SwarmDump>, DumpError> {
        let mut reader = DumpReader::new(bytes)?;
        assert_eq!(reader.written(), 1_700_000_000);
        let mut all = Vec::new();
        while let Some(records) = reader.block()? {
            all.extend(records);
        }
        Ok(all)
    }

    fn any_swarms() -> impl Strategy<Value = Vec<SwarmDump>> {
        let swarm = (any::<[u8; 20]>(), any::<u32>(), prop::collection::vec(any_peer(), 0..40));
        let swarm = swarm.prop_map(|(hash, completed, peers)| SwarmDump {
            info_hash: InfoHash(hash),
            completed,
            peers,
        });
        prop::collection::vec(swarm, 0..12)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(swarms in any_swarms()) {
            prop_assert_eq!(read(&dump(&swarms)).expect("it is whole"), swarms);
        }

        #[test]
        fn damage_is_found_and_never_panics(
            swarms in any_swarms(), at: prop::sample::Index, change in 1_u8.., cut: bool,
        ) {
            let mut bytes = dump(&swarms);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= change }
            // The time is covered by the checksum, but read before it.
            if let Ok(mut reader) = DumpReader::new(&bytes[..]) {
                let ended = loop {
                    match reader.block() {
                        Ok(Some(_)) => {}
                        ended => break ended,
                    }
                };
                prop_assert!(ended.is_err());
            }
        }

        #[test]
        fn noise_never_panics(noise: Vec<u8>) {
            let mut fields = Fields(&noise);
            while !fields.0.is_empty() && fields.record().is_some() {}
            _ = DumpReader::new(&noise[..]).map(|mut reader| reader.block());
        }
    }

    #[test]
    fn long_swarms_are_split_into_bounded_blocks() {
        let peer = |number: u32| Presence {
            peer: SocketAddr::from((number.to_be_bytes(), 7)),
            role: Role::Seeder,
            names: Names::BOTH,
            class: ClientClass::default(),
            life_secs: 60,
        };
        let peers: Vec<_> = (0..20_000).map(peer).collect();
        let swarm = SwarmDump { info_hash: InfoHash([9; 20]), completed: 3, peers };
        let found = read(&dump(std::slice::from_ref(&swarm))).expect("it is whole");
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|part| part.info_hash == swarm.info_hash));
        let all: Vec<_> = found.into_iter().flat_map(|part| part.peers).collect();
        assert_eq!(all, swarm.peers);
    }

    #[test]
    fn other_versions_are_named() {
        let mut bytes = dump(&[]);
        bytes[8] = 2;
        assert!(matches!(DumpReader::new(&bytes[..]), Err(DumpError::Version(2))));
    }
}
