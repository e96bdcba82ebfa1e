//! The first 68 bytes of a connection, in both directions (BEP 3, 6, 10, 52), and who is no peer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mse::{Methods, MseError};
use proto::egress::Nearness;
use proto::peer::handshake::PREFIX;
use proto::peer::{Capabilities, Handshake};
use proto::tracker::json::Beginning;
use proto::{DecodeError, InfoHash, InfoHashV2, InfoHashes, PeerId};
use swarm::{Connected, Direction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::carrier::Carrier;
use crate::encryption;
use crate::node::Inner;
use crate::roads::Roads;
use crate::stream::Stream;

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
    /// The handshake before the handshake failed.
    #[error(transparent)]
    Encryption(#[from] MseError),
    /// Who dialled us hides nothing.
    #[error("not encrypted, as we require")]
    Plain,
    /// We reached ourselves.
    #[error("connected to ourselves")]
    Ourselves,
}

impl HandshakeError {
    /// Trying the same address again leads to the same end.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::OtherTorrent | Self::Ourselves)
    }

    /// The peer may speak another way: it closed the connection, or said what makes no sense.
    const fn may_be_the_way(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Decode(_) | Self::Encryption(_))
    }
}

/// Connects to a peer. A hybrid is dialled under its v1 hash, with the offer to go on under v2.
pub(crate) async fn dial(
    (addr, by): (SocketAddr, Nearness),
    roads: &Roads,
    offer: Offer,
) -> Result<(Stream, Connected), HandshakeError> {
    let dialling = async {
        let ways = roads.encryption.ways();
        let mut over_tcp = false;
        let connect = async || {
            let carrier = roads.connect(addr, by).await?;
            over_tcp = matches!(carrier, Carrier::Tcp(_));
            Ok(carrier)
        };
        let greeted = greet_in_some_way(addr, offer, ways, connect).await;
        match greeted {
            // Some take a TCP connection only to close it.
            Err(error) if over_tcp && error.may_be_the_way() => {
                match roads.connect_utp(addr, by).await {
                    Some(carrier) => greet(carrier?, addr, offer, ways[0]).await,
                    None => Err(error),
                }
            }
            greeted => greeted,
        }
    };
    tokio::time::timeout(DEADLINE, dialling).await.map_err(|_| HandshakeError::TimedOut)?
}

/// Connects over uTP alone to a peer that is connecting to us: the first packets open the way (BEP 55).
pub(crate) async fn punch(
    (addr, by): (SocketAddr, Nearness),
    roads: &Roads,
    offer: Offer,
) -> Result<(Stream, Connected), HandshakeError> {
    let connect = async || match roads.connect_utp(addr, by).await {
        Some(carrier) => carrier,
        None => Err(io::ErrorKind::AddrNotAvailable.into()),
    };
    let dialling = greet_in_some_way(addr, offer, roads.encryption.ways(), connect);
    tokio::time::timeout(DEADLINE, dialling).await.map_err(|_| HandshakeError::TimedOut)?
}

/// Greets in the first of these ways that the peer takes, each on a connection of its own.
async fn greet_in_some_way(
    addr: SocketAddr,
    offer: Offer,
    ways: &[Option<Methods>],
    mut connect: impl AsyncFnMut() -> io::Result<Carrier>,
) -> Result<(Stream, Connected), HandshakeError> {
    let mut last = HandshakeError::TimedOut;
    for way in ways {
        match greet(connect().await?, addr, offer, *way).await {
            Err(error) if error.may_be_the_way() => last = error,
            greeted => return greeted,
        }
    }
    Err(last)
}

async fn greet(
    carrier: Carrier,
    addr: SocketAddr,
    offer: Offer,
    way: Option<Methods>,
) -> Result<(Stream, Connected), HandshakeError> {
    carrier.set_nodelay()?;
    let over = Over::of(&carrier, Direction::Outgoing);
    let ours = ours(offer, offer.hashes.primary());
    let mut stream = match way {
        Some(methods) => encryption::call(carrier, ours.info_hash, methods, &ours.encode()).await?,
        None => {
            let mut stream = Stream::from(carrier);
            stream.write_all(&ours.encode()).await?;
            stream
        }
    };
    let theirs = read(&mut stream).await?;
    let upgraded = offer.hashes.is_hybrid() && Some(theirs.info_hash) == v2_wire(offer.hashes);
    if theirs.info_hash != ours.info_hash && !upgraded {
        return Err(HandshakeError::OtherTorrent);
    }
    let connected = settle(addr, over, offer, theirs.info_hash, &theirs)?;
    Ok((stream, connected))
}

/// Who dialled us.
pub(crate) enum Caller {
    /// A peer; handshakes are done.
    Peer(Stream, Connected),
    /// A client that speaks JSON, and its first bytes.
    Json(TcpStream, Vec<u8>),
}

/// Answers who dialled us.
pub(crate) async fn answer(
    mut carrier: Carrier,
    addr: SocketAddr,
    node: &Inner,
) -> Result<Caller, HandshakeError> {
    let encryption = node.config.encryption;
    let over = Over::of(&carrier, Direction::Incoming);
    let answering = async {
        carrier.set_nodelay()?;
        let mut begun = Vec::with_capacity(Handshake::LEN);
        let spoken = listen(&mut carrier, &mut begun).await?;
        let (mut stream, torrent) = match (spoken, carrier, encryption.answers_noise()) {
            (Spoken::Json, Carrier::Tcp(stream), _) if encryption.answers_plain() => {
                return Ok(Caller::Json(stream, begun));
            }
            (Spoken::BitTorrent, carrier, _) if encryption.answers_plain() => {
                (Stream::rewound(carrier, begun), None)
            }
            (Spoken::BitTorrent, ..) => return Err(HandshakeError::Plain),
            (Spoken::Noise, carrier, Some(methods)) => {
                let (stream, torrent) =
                    encryption::answer(carrier, &begun, methods, &node.directory).await?;
                (stream, Some(torrent))
            }
            (Spoken::Json | Spoken::Noise, ..) => {
                return Err(DecodeError::invalid("handshake", "not BitTorrent").into());
            }
        };
        let theirs = read(&mut stream).await?;
        if torrent.is_some_and(|torrent| torrent != theirs.info_hash) {
            return Err(HandshakeError::OtherTorrent);
        }
        let offer = node.offer(theirs.info_hash).ok_or(HandshakeError::OtherTorrent)?;
        let upgrade = offer.hashes.is_hybrid() && theirs.capabilities.v2_upgrade;
        let hash = match v2_wire(offer.hashes) {
            Some(v2) if upgrade => v2,
            _ => theirs.info_hash,
        };
        stream.write_all(&ours(offer, hash).encode()).await?;
        let connected = settle(addr, over, offer, hash, &theirs)?;
        Ok(Caller::Peer(stream, connected))
    };
    tokio::time::timeout(DEADLINE, answering).await.map_err(|_| HandshakeError::TimedOut)?
}

/// What a caller speaks.
enum Spoken {
    Json,
    BitTorrent,
    /// Neither: an encrypted handshake, or nothing that we know.
    Noise,
}

/// Reads until it is clear what is spoken.
async fn listen(carrier: &mut Carrier, begun: &mut Vec<u8>) -> Result<Spoken, HandshakeError> {
    loop {
        match Beginning::of(begun) {
            Beginning::Json => return Ok(Spoken::Json),
            Beginning::Other if begun.starts_with(&PREFIX) => return Ok(Spoken::BitTorrent),
            Beginning::Other if !PREFIX.starts_with(begun) => return Ok(Spoken::Noise),
            Beginning::Other | Beginning::Unclear => {}
        }
        if begun.len() == Handshake::LEN {
            // White space without an end.
            return Ok(Spoken::Noise);
        }
        let mut bytes = [0; Handshake::LEN];
        let count = carrier.read(&mut bytes[begun.len()..]).await?;
        begun.extend_from_slice(&bytes[begun.len()..][..count]);
    }
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

/// How a connection came about.
#[derive(Debug, Clone, Copy)]
struct Over {
    direction: Direction,
    utp: bool,
}

impl Over {
    const fn of(carrier: &Carrier, direction: Direction) -> Self {
        Self { direction, utp: matches!(carrier, Carrier::Utp(_)) }
    }
}

fn settle(
    addr: SocketAddr,
    over: Over,
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
        direction: over.direction,
        peer_id: theirs.peer_id,
        info_hash,
        v2: Some(info_hash) == v2_wire(offer.hashes),
        fast: common.fast,
        extended: common.extended,
        dht: common.dht,
        utp: over.utp,
    })
}

fn v2_wire(hashes: InfoHashes) -> Option<InfoHash> {
    hashes.v2().map(InfoHashV2::truncated)
}

/// For the whole of it, so that a peer that sends a byte a second gains nothing.
const DEADLINE: Duration = Duration::from_secs(10);
