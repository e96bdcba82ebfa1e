//! The floor: takes packets in and sends as many bytes as a tracker would, with no thought between.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Context as _;
use sys::datagrams::{self, Batch};

/// Packets moved by one call, as Teem's tracker does.
const BATCH: usize = 64;

/// A bare UDP echo with a tracker's framing
#[derive(Debug, clap::Args)]
pub(crate) struct EchoArgs {
    /// Where to answer
    #[arg(long, default_value = "127.0.0.1:6900")]
    listen: SocketAddr,
    /// Peers whose room an announce's answer takes
    #[arg(long, default_value_t = 10)]
    peers: usize,
}

pub(crate) fn run(args: &EchoArgs) -> anyhow::Result<()> {
    let socket =
        UdpSocket::bind(args.listen).with_context(|| format!("listen on {}", args.listen))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
    datagrams::prepare(&socket)?;
    let peer_len = if args.listen.is_ipv4() { 6 } else { 18 };
    let announced_len = 20 + peer_len * args.peers;
    let mut batch = Batch::new(BATCH);
    loop {
        let count = match batch.receive(&socket) {
            Ok(count) => count,
            Err(error) if datagrams::is_transient(&error) => continue,
            Err(error) => return Err(error).context("receive packets"),
        };
        for place in 0..count {
            batch.answer(place, |_, question, answer| echo(question, answer, announced_len));
        }
        batch.send(&socket)?;
    }
}

/// Action and transaction, then whatever.
fn echo(question: &[u8], answer: &mut [u8], announced_len: usize) -> usize {
    let Some(head) = question.get(8..16) else { return 0 };
    answer[..8].copy_from_slice(head);
    match head[3] {
        0 => 16,
        1 => announced_len,
        _ => 8 + (question.len() - 16) / 20 * 12,
    }
    .min(answer.len())
}
