//! The flags of the server that players read from.

use std::net::{IpAddr, SocketAddr};

use crate::streaming::Streaming;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StreamArgs {
    /// Serve the files over HTTP while they come, for players to read and jump in; prints a URL for each.
    /// What is read is fetched first. ADDR or ADDR:PORT of this machine [default: 127.0.0.1 and any port]
    #[arg(
        long, env = "TEEM_STREAM", value_name = "ADDR", num_args = 0..=1,
        default_missing_value = "127.0.0.1:0", value_parser = parse_addr
    )]
    stream: Option<SocketAddr>,
    /// Answer under this name, too, beside addresses and localhost; a page of the web that makes a name
    /// lead here is not answered. Repeat for more
    #[arg(
        long,
        env = "TEEM_STREAM_HOST",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "stream"
    )]
    stream_host: Vec<String>,
}

impl StreamArgs {
    /// The server that the flags ask for.
    pub(super) async fn bind(self) -> anyhow::Result<Option<Streaming>> {
        match self.stream {
            Some(addr) => Streaming::bind(addr, self.stream_host).await.map(Some),
            None => Ok(None),
        }
    }
}

fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    let whole = text.parse::<SocketAddr>().ok();
    let host = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    whole
        .or_else(|| host().map(|ip| SocketAddr::new(ip, 0)))
        .ok_or_else(|| "expected an address of this machine, ADDR or ADDR:PORT".to_owned())
}
