//! Why a tracker cannot start.

use std::io;
use std::net::SocketAddr;

use super::Protocol;
use crate::access::TokenStoreError;
use crate::catalogue::CatalogueError;
use crate::lists::ListError;
use crate::tls::CertificateError;

/// The tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {protocol} {addr}: {source}{}", listen_hint(source, *protocol))]
    Listen {
        /// For what.
        protocol: Protocol,
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Text tells everybody everything.
    #[error("a private tracker cannot speak text: the protocol has no place for a token")]
    TextPrivate,
    /// There is no port behind the last one.
    #[error("text at {0} needs the port behind it for chunk lists: choose one below 65535")]
    NoNextPort(SocketAddr),
    /// No address to listen on.
    #[error("no address to listen on was given")]
    NoAddress,
    /// The catalogue cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenStoreError),
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// TLS cannot be spoken.
    #[error("TLS: {0}")]
    Tls(#[from] CertificateError),
    /// A trusted proxy is for a listener that there is not.
    #[error("a trusted proxy is for {0}, where no HTTP is answered")]
    Proxy(SocketAddr),
    /// A thread cannot be started.
    #[error("start a thread: {0}")]
    Thread(io::Error),
}

impl StartError {
    /// The address is in use by somebody else.
    #[must_use]
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

fn listen_hint(error: &io::Error, protocol: Protocol) -> &'static str {
    match (error.kind(), protocol) {
        (
            io::ErrorKind::AddrInUse,
            Protocol::Http | Protocol::Json | Protocol::Admin | Protocol::TextLists,
        ) => "; `ss -ltnp` shows who holds the port",
        (io::ErrorKind::AddrInUse, Protocol::Udp | Protocol::Text) => {
            "; `ss -lunp` shows who holds the port"
        }
        _ => "",
    }
}
