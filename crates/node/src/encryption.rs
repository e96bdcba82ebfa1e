//! The handshake that looks like noise (MSE), spoken over a carrier.

use mse::{Answerer, Chance, Methods, Settled};
use proto::InfoHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::api::Encryption;
use crate::carrier::Carrier;
use crate::directory::Directory;
use crate::handshake::HandshakeError;
use crate::stream::Stream;

impl Encryption {
    /// How a peer is dialled: the next way when it closes the connection that was begun in the one before.
    /// `None` is plain.
    pub(crate) const fn ways(self) -> &'static [Option<Methods>] {
        match self {
            Self::Forced => &[Some(Methods::Rc4)],
            Self::Preferred => &[Some(Methods::Any), None],
            Self::Allowed => &[None, Some(Methods::Any)],
            Self::Off => &[None],
        }
    }

    /// Who begins in plain bytes is answered.
    pub(crate) const fn answers_plain(self) -> bool {
        !matches!(self, Self::Forced)
    }

    /// What may follow when a peer begins with noise; `None` when it is refused.
    pub(crate) const fn answers_noise(self) -> Option<Methods> {
        match self {
            Self::Forced => Some(Methods::Rc4),
            Self::Preferred | Self::Allowed => Some(Methods::Any),
            Self::Off => None,
        }
    }
}

/// Begins a connection about a torrent, with the first bytes of our stream.
pub(crate) async fn call(
    carrier: Carrier,
    torrent: InfoHash,
    methods: Methods,
    beginning: &[u8],
) -> Result<Stream, HandshakeError> {
    let mut plain = Stream::from(carrier);
    let mut caller = mse::Caller::new(torrent, methods, beginning.to_vec(), chance());
    let mut buffer = [0; READ_LEN];
    loop {
        plain.write_all(&caller.take_output()).await?;
        let count = read_some(&mut plain, &mut buffer).await?;
        if let Some(settled) = caller.receive(&buffer[..count])? {
            return Ok(veil(plain, settled));
        }
    }
}

/// Answers a connection that began with these bytes; tells what it is about.
pub(crate) async fn answer(
    carrier: Carrier,
    begun: &[u8],
    methods: Methods,
    directory: &Directory,
) -> Result<(Stream, InfoHash), HandshakeError> {
    let mut plain = Stream::rewound(carrier, begun.to_vec());
    let mut answerer = Answerer::new(methods, chance());
    let mut buffer = [0; READ_LEN];
    loop {
        let count = read_some(&mut plain, &mut buffer).await?;
        let settled = answerer.receive(&buffer[..count], |key| directory.by_key(key))?;
        plain.write_all(&answerer.take_output()).await?;
        if let Some((torrent, settled)) = settled {
            return Ok((veil(plain, settled), torrent));
        }
    }
}

fn veil(plain: Stream, settled: Settled) -> Stream {
    Stream::veiled(plain.into_carrier(), settled)
}

async fn read_some(stream: &mut Stream, buffer: &mut [u8]) -> Result<usize, HandshakeError> {
    match stream.read(buffer).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        count => Ok(count),
    }
}

fn chance() -> Chance {
    let len = rand::random_range(0..=mse::PAD_LEN_MAX);
    Chance { secret: rand::random(), pad: (0..len).map(|_| rand::random()).collect() }
}

/// Bytes that are read at once.
const READ_LEN: usize = 2 << 10;
