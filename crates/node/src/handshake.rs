//! The first 68 bytes of a connection, in both directions (BEP 3, 6, 10, 52), and who is no peer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proto::peer::{Capabilities, Handshake};
use proto::tracker::json::Beginning;
use proto::{DecodeError, InfoHash, InfoHashV2, InfoHashes, PeerId};
use swarm::{Connected, Direction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stream::{Roads, Stream};

/// What we say of ourselves and of the torrent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) hashes: InfoHashes,
    pub(crate) peer_id: PeerId,
    /// We have a node of the DHT, and the torrent is not known to be private.
    pub(crate) dht: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// No answer in time.
    #[error("no handshake within {} seconds", DEADLINE.as_secs())]
    TimedOut,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not BitTorrent.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The peer is there for another torrent, or we have no such torrent.
    #[error("not a torrent of ours")]
    OtherTorrent,
    /// We reached ourselves.
    #[error("connected to ourselves")]
    Ourselves,
}

impl HandshakeError {
    /// Trying the same address again leads to the same end.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::OtherTorrent | Self::Ourselves)
    }
}

/// Connects to a peer. A hybrid is dialled under its v1 hash, with the offer to go on under v2.
pub(crate) async fn dial(
    addr: SocketAddr,
    roads: &Roads,
    offer: Offer,
) -> Result<(Stream, Connected), HandshakeError> {
    let greeting = async {
        let stream = roads.connect(addr).await?;
        let over_tcp = matches!(stream, Stream::Tcp(_));
        match greet(stream, addr, offer).await {
            // Some take a TCP connection only to close it.
            Err(HandshakeError::Io(error)) if over_tcp => match roads.connect_utp(addr).await {
                Some(stream) => greet(stream?, addr, offer).await,
                None => Err(error.into()),
            },
            greeted => greeted,
        }
    };
    tokio::time::timeout(DEADLINE, greeting).await.map_err(|_| HandshakeError::TimedOut)?
}

async fn greet(
    mut stream: Stream,
    addr: SocketAddr,
    offer: Offer,
) -> Result<(Stream, Connected), HandshakeError> {
    stream.set_nodelay()?;
    let ours = ours(offer, offer.hashes.primary());
    stream.write_all(&ours.encode()).await?;
    let theirs = read(&mut stream).await?;
    let upgraded = offer.hashes.is_hybrid() && Some(theirs.info_hash) == v2_wire(offer.hashes);
    if theirs.info_hash != ours.info_hash && !upgraded {
        return Err(HandshakeError::OtherTorrent);
    }
    let connected = settle(addr, Direction::Outgoing, offer, theirs.info_hash, &theirs)?;
    Ok((stream, connected))
}

/// Who dialled us.
pub(crate) enum Caller {
    /// A peer; handshakes are done.
    Peer(Stream, Connected),
    /// A client that speaks JSON, and its first bytes.
    Json(TcpStream, Vec<u8>),
}

/// Answers who dialled us; `find` knows our torrents.
pub(crate) async fn answer(
    mut stream: Stream,
    addr: SocketAddr,
    find: impl Fn(InfoHash) -> Option<Offer>,
) -> Result<Caller, HandshakeError> {
    let greeting = async {
        stream.set_nodelay()?;
        let mut bytes = [0; Handshake::LEN];
        let len = read_beginning(&mut stream, &mut bytes).await?;
        if Beginning::of(&bytes[..len]) == Beginning::Json {
            // Only peers speak uTP.
            let Stream::Tcp(stream) = stream else {
                return Err(DecodeError::invalid("handshake", "not BitTorrent").into());
            };
            return Ok(Caller::Json(stream, bytes[..len].to_vec()));
        }
        stream.read_exact(&mut bytes[len..]).await?;
        let theirs = Handshake::decode(&bytes)?;
        let offer = find(theirs.info_hash).ok_or(HandshakeError::OtherTorrent)?;
        let upgrade = offer.hashes.is_hybrid() && theirs.capabilities.v2_upgrade;
        let hash = match v2_wire(offer.hashes) {
            Some(v2) if upgrade => v2,
            _ => theirs.info_hash,
        };
        stream.write_all(&ours(offer, hash).encode()).await?;
        let connected = settle(addr, Direction::Incoming, offer, hash, &theirs)?;
        Ok(Caller::Peer(stream, connected))
    };
    tokio::time::timeout(DEADLINE, greeting).await.map_err(|_| HandshakeError::TimedOut)?
}

/// Reads until it is clear what is spoken; how many bytes it took.
async fn read_beginning(
    stream: &mut Stream,
    bytes: &mut [u8; Handshake::LEN],
) -> Result<usize, HandshakeError> {
    let mut len = 0;
    while len < bytes.len() && Beginning::of(&bytes[..len]) == Beginning::Unclear {
        match stream.read(&mut bytes[len..]).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => len += count,
        }
    }
    Ok(len)
}

async fn read(stream: &mut Stream) -> Result<Handshake, HandshakeError> {
    let mut bytes = [0; Handshake::LEN];
    stream.read_exact(&mut bytes).await?;
    Ok(Handshake::decode(&bytes)?)
}

fn ours(offer: Offer, info_hash: InfoHash) -> Handshake {
    Handshake { capabilities: capabilities(offer), info_hash, peer_id: offer.peer_id }
}

const fn capabilities(offer: Offer) -> Capabilities {
    let v2_upgrade = offer.hashes.is_hybrid();
    Capabilities { extended: true, fast: true, v2_upgrade, dht: offer.dht }
}

fn settle(
    addr: SocketAddr,
    direction: Direction,
    offer: Offer,
    info_hash: InfoHash,
    theirs: &Handshake,
) -> Result<Connected, HandshakeError> {
    if theirs.peer_id == offer.peer_id {
        return Err(HandshakeError::Ourselves);
    }
    let common = capabilities(offer).common(theirs.capabilities);
    Ok(Connected {
        addr: swarm::canonical(addr),
        direction,
        peer_id: theirs.peer_id,
        info_hash,
        v2: Some(info_hash) == v2_wire(offer.hashes),
        fast: common.fast,
        extended: common.extended,
        dht: common.dht,
    })
}

fn v2_wire(hashes: InfoHashes) -> Option<InfoHash> {
    hashes.v2().map(InfoHashV2::truncated)
}

/// For the whole of it, so that a peer that sends a byte a second gains nothing.
const DEADLINE: Duration = Duration::from_secs(10);
