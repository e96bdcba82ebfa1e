//! `teem tracker`: the meeting point alone.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use tracker::{
    Caps, CatalogueLimits, Export, Extra, Intervals, Lives, QuotaRates, Secret, TextConfig,
    TrackerConfig,
};

use super::lists::ListArgs;
use super::tls::TlsArgs;
use super::{Context, backup};
use crate::hosting::{Hosted, Ready, Serve};
use crate::lan::Lan;
use crate::listen::{ExtraListen, Listen, ListenAddr};
use crate::locate;
use crate::state::StateArgs;
use crate::units::{parse_duration, parse_size};

/// Run a tracker: the meeting point of peers, and the catalogue of names
///
/// UDP and HTTP announces, the catalogue and its API answer on one port. Every tracker that others
/// can reach is found by its name on the local network.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  teem tracker
  teem tracker --listen 127.0.0.1 --port 7000 --data ./state
  teem tracker --tls
  teem tracker --text-listen :5555 --external-ip 203.0.113.7
  teem tracker backup /srv/backup/monday"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
    /// Answer only who has a token; `teem token create` makes them
    #[arg(long, env = "TEEM_PRIVATE", value_parser = FalseyValueParser::new())]
    private: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// What else can be done with a tracker.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Backup(backup::Args),
}

/// Where a tracker answers.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tracker")]
pub(super) struct ServerArgs {
    /// Answer at this address of this machine, ADDR or ADDR:PORT [default: all]
    #[arg(long, env = "TEEM_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<ListenAddr>,
    /// Answer on this port, UDP and HTTP; 0 for any free one [default: 6969]
    #[arg(short, long, env = "TEEM_PORT", value_name = "N")]
    port: Option<u16>,
    /// Speak JSON at this address, or off [default: where the tracker answers, on port 9000]
    #[arg(long, env = "TEEM_JSON_LISTEN", value_name = "ADDR|off")]
    json_listen: Option<ExtraListen>,
    /// Answer the operator (metrics, statistics, status page) at this address, or off [default:
    /// 127.0.0.1 on port 6968, or the next free one below]
    #[arg(long, env = "TEEM_ADMIN_LISTEN", value_name = "ADDR|off")]
    admin_listen: Option<ExtraListen>,
    /// Answer the operator under this host name too, beside addresses and this machine's own name
    #[arg(long, env = "TEEM_ADMIN_HOST", value_name = "NAME", value_delimiter = ',')]
    admin_host: Vec<String>,
    /// Peers of small and young swarms announce this often
    #[arg(long, env = "TEEM_INTERVAL", value_name = "TIME", default_value = "60s", value_parser = parse_interval)]
    interval: Duration,
    /// Peers of large swarms announce this often
    #[arg(long, env = "TEEM_MAX_INTERVAL", value_name = "TIME", default_value = "30m", value_parser = parse_interval)]
    max_interval: Duration,
    /// Peers of the JSON and text protocols are tried, then forgotten, after this time without a word
    #[arg(long, env = "TEEM_PEER_TIMEOUT", value_name = "TIME", default_value = "3m", value_parser = parse_interval)]
    peer_timeout: Duration,
    /// Announces and scrapes a second of one network (an IPv4 /24, an IPv6 /64), or off
    #[arg(long, env = "TEEM_RATE_LIMIT", value_name = "N|off", default_value = "500")]
    rate_limit: Rate,
    /// The same for loopback and private networks
    #[arg(long, env = "TEEM_RATE_LIMIT_LOCAL", value_name = "N|off", default_value = "off")]
    rate_limit_local: Rate,
    /// Keep so many torrents' swarms; past it the emptiest and youngest make room
    #[arg(long, env = "TEEM_MAX_TORRENTS", value_name = "N", default_value_t = TORRENTS_MAX)]
    max_torrents: usize,
    /// Keep so many peers of all torrents; past it large swarms lose some
    #[arg(long, env = "TEEM_MAX_TRACKED_PEERS", value_name = "N", default_value_t = PEERS_MAX)]
    max_tracked_peers: usize,
    /// Hold so many connections of HTTP at once, and as many of JSON
    #[arg(
        long, env = "TEEM_MAX_CONNECTIONS", value_name = "N",
        default_value_t = tracker::limits::CONNECTIONS_MAX as u64,
        value_parser = clap::value_parser!(u64).range(1..=1 << 20)
    )]
    max_connections: u64,
    /// Keep torrent files of so many bytes altogether, their search index counted in
    #[arg(
        long, env = "TEEM_CATALOGUE_MAX_SIZE", value_name = "SIZE", default_value = "4G",
        value_parser = parse_size
    )]
    catalogue_max_size: u64,
    /// Let one stranger, or one network of strangers, have so much of the catalogue, in per cent
    #[arg(
        long, env = "TEEM_CATALOGUE_SHARE", value_name = "PERCENT", default_value_t = 25,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    catalogue_share: u8,
    /// Know the peers again after a restart
    #[arg(long, env = "TEEM_KEEP_PEERS", value_parser = FalseyValueParser::new())]
    keep_peers: bool,
    /// Write the counts of all torrents to this file, as bencoded scrape
    #[arg(long, env = "TEEM_SCRAPE_EXPORT", value_name = "FILE")]
    scrape_export: Option<PathBuf>,
    /// Time between two writings of that file
    #[arg(long, env = "TEEM_SCRAPE_EXPORT_EVERY", value_name = "TIME", default_value = "1h", value_parser = parse_pause)]
    scrape_export_every: Duration,
    /// Speak text over UDP at this address, chunk lists over TCP on the port behind it [default: off;
    /// port 5555]
    #[arg(long, env = "TEEM_TEXT_LISTEN", value_name = "ADDR|off")]
    text_listen: Option<ExtraListen>,
    /// Answer `list_seeder` in full to public addresses that nobody has proven, 50 a second at most:
    /// such answers can be aimed at others
    #[arg(long, env = "TEEM_TEXT_PUBLIC", value_parser = FalseyValueParser::new())]
    text_public: bool,
    /// This tracker's address as the world sees it: seeders beside it that claim it are listed under it
    #[arg(long, env = "TEEM_EXTERNAL_IP", value_name = "IP", value_delimiter = ',')]
    external_ip: Vec<IpAddr>,
    /// Let others find this tracker on the local network
    #[arg(long, env = "TEEM_LAN", value_name = "on|off", default_value = "on")]
    lan: Lan,
    /// Ask the router to open the ports to everybody outside (PCP, NAT-PMP, UPnP)
    #[arg(long, env = "TEEM_MAP_PORTS", value_parser = FalseyValueParser::new())]
    map_ports: bool,
    #[command(flatten)]
    lists: ListArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

/// A number a second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate(Option<u32>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "off" => Ok(Self(None)),
            Ok(rate) if rate > 0 => Ok(Self(Some(rate))),
            _ => Err("expected a number above 0, or off".to_owned()),
        }
    }
}

impl ServerArgs {
    /// The addresses to listen on.
    pub(super) fn listen(&self) -> Listen {
        Listen::new(&self.listen, self.port, locate::DEFAULT_PORT)
    }

    /// The tracker that these ask for.
    pub(super) fn serve(&self, private: bool) -> Serve {
        let listen = self.listen();
        let tls = self.tls.config(&listen.addrs);
        let config = TrackerConfig {
            listen: listen.addrs,
            json: self.json(),
            text: self.text(),
            admin: self.admin(),
            lists: self.lists.files(),
            keep_peers: self.keep_peers,
            export: self.export(),
            private,
            intervals: self.intervals(),
            lives: Lives { peer_secs: secs(self.peer_timeout), ..Lives::default() },
            caps: Caps { swarms: self.max_torrents, peers: self.max_tracked_peers },
            connections_max: self.max_connections as usize,
            quotas: QuotaRates { public: self.rate_limit.0, local: self.rate_limit_local.0 },
            tls,
            proxies: self.tls.proxies(),
            catalogue: CatalogueLimits {
                bytes_max: self.catalogue_max_size,
                share_percent: self.catalogue_share,
            },
        };
        let admin_hosts = self.admin_host.clone();
        Serve { config, admin_hosts, lan: self.lan, map_ports: self.map_ports }
    }

    /// Whether the router is asked to open ports.
    pub(super) const fn maps_ports(&self) -> bool {
        self.map_ports
    }

    /// Whether the local network may hear of it.
    pub(super) const fn lan(&self) -> Lan {
        self.lan
    }

    /// Peers are forgotten two and a half intervals after their last announce.
    fn intervals(&self) -> Intervals {
        let (short, long) = (secs(self.interval), secs(self.max_interval));
        Intervals { short_secs: short, long_secs: long.max(short) }
    }

    fn text(&self) -> TextConfig {
        let listen = match &self.text_listen {
            None | Some(ExtraListen::Off) => Vec::new(),
            Some(ExtraListen::At(addr)) => Listen::new(&[*addr], None, TEXT_PORT).addrs,
        };
        let external = self.external_ip.iter().map(IpAddr::to_canonical).collect();
        TextConfig { listen, public: self.text_public, external }
    }

    fn json(&self) -> Extra {
        match &self.json_listen {
            Some(ExtraListen::Off) => Extra::default(),
            Some(ExtraListen::At(addr)) => {
                Extra { listen: Listen::new(&[*addr], None, JSON_PORT).addrs, required: true }
            }
            None => {
                let listen = self.listen();
                // Who wants any free port wants no fixed one beside it.
                let any = listen.addrs.iter().all(|addr| addr.port() == 0);
                let port = if any { 0 } else { JSON_PORT };
                Extra { listen: listen.on_port(port).addrs, required: false }
            }
        }
    }
}

impl ServerArgs {
    fn export(&self) -> Option<Export> {
        let every = self.scrape_export_every;
        self.scrape_export.clone().map(|file| Export { file, every })
    }

    fn admin(&self) -> Extra {
        match &self.admin_listen {
            Some(ExtraListen::Off) => Extra::default(),
            Some(ExtraListen::At(addr)) => {
                let listen = Listen::new(&[*addr], None, ADMIN_PORT);
                Extra { listen: listen.addrs, required: true }
            }
            None => {
                let any = self.listen().addrs.iter().all(|addr| addr.port() == 0);
                let port = if any { 0 } else { ADMIN_PORT };
                Extra { listen: vec![(Ipv4Addr::LOCALHOST, port).into()], required: false }
            }
        }
    }
}

/// From one second to an hour: a peer's life of two and a half intervals has to fit its record.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&time);
    fits.then_some(time).ok_or_else(|| "expected 1s to 1h".to_owned())
}

/// A second at least.
fn parse_pause(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(|time| time.max(Duration::from_secs(1)))
}

fn secs(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if let Some(Command::Backup(args)) = args.command {
        return backup::run(args, context).await;
    }
    let state = args.state.open()?;
    let hosted = Hosted::start(args.server.serve(args.private), &state, context).await?;
    if let Some(secret) = hosted.first_admin() {
        tell_first_admin(secret, context);
    }
    tell(&hosted.ready(), context);
    context.interrupt.wait().await;
    hosted.stop().await;
    Err(context.interrupt.failure().into())
}

fn tell(ready: &Ready, context: &Context) {
    context.output.object("ready", ready);
    context.output.result(&format!("tracker {} at {}", ready.name, ready.addresses.join(", ")));
    ready.tell_external(&context.output);
    ready.tell_certificate(&context.output);
    context.output.note("running until Ctrl-C");
}

fn tell_first_admin(secret: &Secret, context: &Context) {
    context.output.object(
        "token",
        &serde_json::json!({ "name": "admin", "scope": "admin", "secret": secret.reveal() }),
    );
    context.output.result(&format!("administrator's token, shown this once: {}", secret.reveal()));
}

/// As many as the registry can keep.
const TORRENTS_MAX: usize = tracker::limits::SHARDS * registry::limits::SWARMS_MAX;
const PEERS_MAX: usize = tracker::limits::SHARDS * registry::limits::PEERS_MAX;
/// The JSON protocol's usual port.
const JSON_PORT: u16 = 9000;
/// Where the operator is answered, if nobody else has it.
const ADMIN_PORT: u16 = 6968;
/// The text protocol's usual port.
const TEXT_PORT: u16 = 5555;
