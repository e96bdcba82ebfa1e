//! Where the tracker is.
//!
//! In this order: `--tracker` and `TEEM_TRACKER`; this machine, at the default port; the LAN (DNS-SD).
//! A tracker found on the LAN is named when used, remembered, and not silently replaced by another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use node::egress::{Gate, Proxy};
use proto::Fingerprint;
use tracker::{Passkey, Scope};
use url::Url;

use crate::client::{Client, ClientError};
use crate::credentials::{Credentials, TokenArgs};
use crate::exit::{Failure, Status};
use crate::known::{self, Authority, Known};
use crate::listen;
use crate::output::Output;
use crate::state::StateDir;
use crate::tracker_api::{announce_path, dto};
use crate::{lan, signal};

/// Where a Teem tracker answers, over HTTP and UDP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// Name or address, IPv6 without brackets.
    host: String,
    /// Of its HTTP and its UDP server.
    port: u16,
    /// How HTTP is spoken there.
    scheme: Scheme,
}

/// HTTP with or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    Http,
    Https,
}

/// A tracker as `--tracker` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrackerRef {
    /// One with a catalogue.
    Teem(Endpoint),
    /// Any BitTorrent tracker, by its announce URL: peers, but no names.
    Announce(String),
}

/// The flags that say which tracker.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TrackerArgs {
    /// The tracker, as HOST:PORT or URL; repeat for more. An announce URL
    /// (udp://HOST:PORT/announce) gives peers, but no names
    #[arg(long, env = "TEEM_TRACKER", value_name = "HOST:PORT|URL", value_delimiter = ',')]
    pub(crate) tracker: Vec<TrackerRef>,
    /// Accept this certificate (its SHA-256) of the https:// tracker, and remember it
    #[arg(
        long, env = "TEEM_TRACKER_FINGERPRINT", value_name = "SHA256",
        value_parser = known::parse_fingerprint
    )]
    tracker_fingerprint: Option<Fingerprint>,
    /// Look for peers on the local network, and for a tracker when none is named
    #[arg(long, env = "TEEM_LAN", value_name = "on|off", default_value = "on")]
    lan: lan::Lan,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    way: WayArgs,
}

/// The way out.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
struct WayArgs {
    /// Carry every connection to peers and trackers: socks5://HOST:PORT or http://HOST:PORT, with
    /// USER:PASSWORD@ where the proxy wants it. Nothing leaves beside it: no UDP, no look at the LAN
    #[arg(long, env = "TEEM_PROXY", value_name = "URL", hide_env_values = true)]
    proxy: Option<Proxy>,
    /// Leave by this network interface only, such as that of a VPN
    #[arg(long, env = "TEEM_INTERFACE", value_name = "NAME")]
    interface: Option<String>,
}

/// The trackers to use.
#[derive(Debug, Clone)]
pub(crate) struct Trackers {
    /// Those with a catalogue.
    pub(crate) catalogues: Vec<Endpoint>,
    /// The announce URLs of others.
    pub(crate) announce: Vec<String>,
    /// Whom to believe over TLS.
    pub(crate) known: Known,
    /// What those with a catalogue are shown.
    pub(crate) credentials: Credentials,
}

impl TrackerArgs {
    /// What every connection passes.
    pub(crate) fn gate(&self) -> Gate {
        let WayArgs { proxy, interface } = self.way.clone();
        Gate { bind: None, interface: interface.map(Into::into), proxy: proxy.map(Into::into) }
    }

    /// A proxy is for those who do not want to be seen.
    pub(crate) fn lan(&self) -> lan::Lan {
        if self.way.proxy.is_some() { lan::Lan::Off } else { self.lan }
    }

    /// The trackers that the command line or the environment names; nothing is looked for.
    pub(crate) fn named(&self, state: &StateDir, output: &Output) -> anyhow::Result<Trackers> {
        let known = self.known(state, output)?;
        let credentials = self.token.given()?;
        let mut named =
            Trackers { catalogues: Vec::new(), announce: Vec::new(), known, credentials };
        for tracker in &self.tracker {
            match tracker {
                TrackerRef::Teem(endpoint) => named.catalogues.push(endpoint.clone()),
                TrackerRef::Announce(url) => named.announce.push(url.clone()),
            }
        }
        Ok(named)
    }

    /// The certificates remembered, and the one that the command line names.
    fn known(&self, state: &StateDir, output: &Output) -> Result<Known, Failure> {
        let gate = self.gate();
        gate.check().map_err(|error| Failure::new(Status::Failed, error.to_string()))?;
        let known = Known::open(state, output)?.through(gate);
        let Some(fingerprint) = self.tracker_fingerprint else { return Ok(known) };
        let mut secure = self.tracker.iter().filter_map(TrackerRef::secure_authority);
        let (Some(authority), None) = (secure.next(), secure.next()) else {
            let message = "--tracker-fingerprint is for one tracker over TLS";
            return Err(Failure::new(Status::Usage, message)
                .hint("name it with --tracker https://HOST:PORT"));
        };
        known.insist(&authority, fingerprint)?;
        Ok(known)
    }

    /// Trackers with at least one catalogue, looked for when none is named.
    pub(crate) async fn find(
        &self,
        state: &StateDir,
        output: &Output,
        interrupt: &signal::Interrupt,
    ) -> anyhow::Result<Trackers> {
        let mut trackers = self.named(state, output)?;
        if trackers.catalogues.is_empty() {
            if !trackers.announce.is_empty() {
                let message = "names need a tracker with a catalogue, and an announce URL has none";
                return Err(Failure::new(Status::Usage, message)
                    .hint("give --tracker HOST:PORT of a Teem tracker")
                    .into());
            }
            let known = trackers.known.clone();
            let found = interrupt.or(search(self.lan(), state, &known, output)).await?;
            trackers.catalogues.push(found);
        }
        Ok(trackers)
    }

    /// The trackers named, or the one of this machine or the local network if it is there now: for what
    /// can do without.
    pub(crate) async fn find_if_there(
        &self,
        state: &StateDir,
        output: &Output,
        interrupt: &signal::Interrupt,
    ) -> anyhow::Result<Trackers> {
        let mut trackers = self.named(state, output)?;
        if trackers.catalogues.is_empty() && trackers.announce.is_empty() {
            let known = trackers.known.clone();
            let found = interrupt.or(look_once(self.lan(), state, &known, output)).await?;
            trackers.catalogues.extend(found);
        }
        Ok(trackers)
    }
}

impl Trackers {
    /// Whom to believe and what to show, for [`ask_each`].
    pub(crate) const fn asker(&self) -> (&Known, &Credentials) {
        (&self.known, &self.credentials)
    }

    /// The tiers to announce to. HTTP first: the catalogue has just answered over it, while UDP may
    /// be filtered, which only a time-out tells.
    pub(crate) fn tiers(&self) -> Vec<Vec<String>> {
        self.tiers_with(self.credentials.passkey().as_ref())
    }

    /// The same for everybody to see: without what is only ours.
    pub(crate) fn public_tiers(&self) -> Vec<Vec<String>> {
        self.tiers_with(None)
    }

    fn tiers_with(&self, passkey: Option<&Passkey>) -> Vec<Vec<String>> {
        let own = self.catalogues.iter().flat_map(|endpoint| endpoint.tiers(passkey));
        own.chain(self.announce.iter().map(|url| vec![url.clone()])).collect()
    }
}

impl Trackers {
    /// Meets those over TLS of whom nothing is known yet: announces are made only to whom one knows.
    /// One that is away is met another time.
    pub(crate) async fn meet(&self) -> Result<(), Failure> {
        for endpoint in self.catalogues.iter().filter(|endpoint| endpoint.is_secure()) {
            if self.known.has_met(&endpoint.authority())? {
                continue;
            }
            let met = Client::new(endpoint.clone(), &self.known).status().await;
            if let Err(error @ (ClientError::Untrusted { .. } | ClientError::State(_))) = met {
                return Err(error.at(endpoint));
            }
        }
        Ok(())
    }

    /// Asks those with a catalogue whether one may publish there; tells whether they are private. One
    /// that is away is left out, unless all are.
    ///
    /// # Errors
    ///
    /// When the content would belong to a closed circle here and to everybody there.
    pub(crate) async fn ask_to_publish(&self, output: &Output) -> anyhow::Result<bool> {
        let (mut open, mut private) = (self.announce.first().cloned(), None);
        let mut away = None;
        for endpoint in &self.catalogues {
            let ask = async |client: Client| client.status().await.map(Some);
            let each = std::slice::from_ref(endpoint);
            match ask_each(each, self.asker(), output, ask).await {
                Ok(Answer::Found(status, at)) if status.scope == Scope::Read.name() => {
                    let message = format!("tracker {at}: this token is for reading only");
                    return Err(Failure::new(Status::Unauthorised, message)
                        .hint("ask whoever runs the tracker for one of scope publish")
                        .into());
                }
                Ok(Answer::Found(status, at)) if status.private => private = Some(at.to_string()),
                Ok(Answer::Found(_, at)) => open = Some(at.to_string()),
                Ok(Answer::Unknown) => {}
                Err(error) if is_away(&error) => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (private, open, away) {
            (Some(private), Some(open), _) => {
                let message = format!("tracker {private} is private, and {open} may not be");
                Err(Failure::new(Status::Usage, message)
                    .hint("what is shared on both would not stay private; name one of them")
                    .into())
            }
            (None, None, Some(error)) => Err(error),
            (private, ..) => Ok(private.is_some()),
        }
    }

    /// The tiers to announce to that `source` does not have by itself.
    pub(crate) fn tiers_beside(&self, source: &node::Source) -> Vec<Vec<String>> {
        let known = |url: &String| match source {
            node::Source::Metainfo(metainfo) => {
                metainfo.trackers.iter().flatten().any(|has| has == url)
            }
            node::Source::Magnet(magnet) => magnet.trackers.contains(url),
        };
        let mut tiers = self.tiers();
        tiers.iter_mut().for_each(|tier| tier.retain(|url| !known(url)));
        tiers.retain(|tier| !tier.is_empty());
        tiers
    }
}

impl Endpoint {
    /// The tracker at an address.
    pub(crate) fn new(ip: IpAddr, port: u16) -> Self {
        Self { host: ip.to_string(), port, scheme: Scheme::Http }
    }

    /// The same, over TLS.
    #[must_use]
    pub(crate) fn secured(self) -> Self {
        Self { scheme: Scheme::Https, ..self }
    }

    /// HTTP is spoken over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// By what its certificate is known.
    pub(crate) fn authority(&self) -> Authority {
        (self.host.clone(), self.port)
    }

    /// The URL of a page of its HTTP server.
    pub(crate) fn page(&self, path: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}{path}", self.host_and_port())
    }

    fn host_and_port(&self) -> String {
        let brackets = self.host.contains(':');
        let Self { host, port, .. } = self;
        if brackets { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The tiers that announce to it: HTTP, then UDP.
    pub(crate) fn tiers(&self, passkey: Option<&Passkey>) -> [Vec<String>; 2] {
        let path = announce_path(passkey);
        let udp = format!("udp://{}{path}", self.host_and_port());
        [vec![self.page(&path)], vec![udp]]
    }
}

/// As `--tracker` takes it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure() { "https://" } else { "" };
        write!(f, "{scheme}{}", self.host_and_port())
    }
}

impl TrackerRef {
    /// By what the certificate of a tracker over TLS is known.
    fn secure_authority(&self) -> Option<Authority> {
        match self {
            Self::Teem(endpoint) => endpoint.is_secure().then(|| endpoint.authority()),
            Self::Announce(url) => {
                let url = Url::parse(url).ok().filter(|url| url.scheme() == "https")?;
                let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
                Some((host, url.port_or_known_default()?))
            }
        }
    }
}

impl FromStr for TrackerRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") { parse_url(text) } else { parse_host(text).map(Self::Teem) }
    }
}

fn parse_url(text: &str) -> Result<TrackerRef, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let host = url.host().ok_or_else(|| "the URL has no host".to_owned())?;
    let scheme = if url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
    match url.scheme() {
        "http" | "https" if matches!(url.path(), "" | "/") && url.query().is_none() => {
            let host = match host {
                url::Host::Ipv6(ip) => ip.to_string(),
                url::Host::Ipv4(ip) => ip.to_string(),
                url::Host::Domain(name) => name.to_owned(),
            };
            let port = url.port_or_known_default().unwrap_or(DEFAULT_PORT);
            Ok(TrackerRef::Teem(Endpoint { host, port, scheme }))
        }
        "udp" if url.port().is_none() => Err("a udp:// URL needs a port".to_owned()),
        "http" | "https" | "udp" => Ok(TrackerRef::Announce(text.to_owned())),
        _ => Err("a tracker URL begins with http://, https:// or udp://".to_owned()),
    }
}

fn parse_host(text: &str) -> Result<Endpoint, String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return Ok(Endpoint::new(ip.into(), DEFAULT_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "expected HOST:PORT".to_owned())?),
        None => (text, DEFAULT_PORT),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(ip) => {
            ip.parse::<Ipv6Addr>().map_err(|_| "expected [IPv6]:PORT".to_owned())?.to_string()
        }
        None => host.to_owned(),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(known) || (bare.is_none() && host.contains(':')) {
        return Err("expected HOST:PORT or a URL".to_owned());
    }
    if port == 0 {
        return Err("a tracker to connect to has no port 0".to_owned());
    }
    Ok(Endpoint { host, port, scheme: Scheme::Http })
}

/// Looks on this machine and then on the LAN, a few times: the tracker may be starting just now.
async fn search(
    lan: lan::Lan,
    state: &StateDir,
    known: &Known,
    output: &Output,
) -> anyhow::Result<Endpoint> {
    for (round, pause) in PAUSES.iter().enumerate() {
        if let Some(here) = on_this_machine(known).await {
            return Ok(here);
        }
        if round == 0 {
            let next = match lan {
                lan::Lan::On => "looking on the local network",
                lan::Lan::Off => "trying again",
            };
            let here = format!("no tracker on this machine (127.0.0.1:{DEFAULT_PORT})");
            output.note(&format!("{here}; {next}"));
        }
        match lan {
            lan::Lan::On => {
                if let Some(found) = lan::find(state, known, output).await? {
                    return Ok(found);
                }
            }
            lan::Lan::Off => {}
        }
        tokio::time::sleep(*pause).await;
    }
    let places = match lan {
        lan::Lan::On => "on this machine or on the local network",
        lan::Lan::Off => "on this machine",
    };
    Err(Failure::new(Status::NoPeers, format!("no tracker found {places}"))
        .hint("start one with `teem tracker` or `teem up`, or name one with --tracker HOST:PORT")
        .into())
}

/// Looks on this machine and then on the LAN.
async fn look_once(
    lan: lan::Lan,
    state: &StateDir,
    known: &Known,
    output: &Output,
) -> anyhow::Result<Option<Endpoint>> {
    if let Some(here) = on_this_machine(known).await {
        return Ok(Some(here));
    }
    match lan {
        lan::Lan::On => lan::find(state, known, output).await,
        lan::Lan::Off => Ok(None),
    }
}

/// The tracker at this machine's default port; by the address that others can reach too, if it has
/// one, since an announce from the loopback address would tell others nothing.
async fn on_this_machine(known: &Known) -> Option<Endpoint> {
    let local = Endpoint::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT);
    let (local, status) = match greet(local.clone(), known, LOCAL_CONNECT_TIMEOUT).await {
        Ok(met) => met,
        // A private tracker: it is there, and says its name to nobody without a token.
        Err(ClientError::Unauthorised(Some(_))) => return Some(local),
        Err(_) => return None,
    };
    let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DEFAULT_PORT);
    for addr in listen::reachable(&[everywhere]).into_iter().take(ADDRS_MAX) {
        let wide = Endpoint::new(addr.ip(), DEFAULT_PORT);
        if let Ok((wide, same)) = greet(wide, known, LOCAL_CONNECT_TIMEOUT).await
            && same.name == status.name
        {
            return Some(wide);
        }
    }
    Some(local)
}

/// Asks who answers at an address that nobody typed; over TLS where it wants that.
pub(crate) async fn greet(
    endpoint: Endpoint,
    known: &Known,
    connect_timeout: Duration,
) -> Result<(Endpoint, dto::Status), ClientError> {
    let ask = |endpoint| Client::new(endpoint, known).connect_timeout(connect_timeout);
    match ask(endpoint.clone()).status().await {
        Err(ClientError::TlsOnly) => {
            let endpoint = endpoint.secured();
            Ok((endpoint.clone(), ask(endpoint).status().await?))
        }
        status => Ok((endpoint, status?)),
    }
}

/// Asks each tracker in turn, and those that are away again after 0.5, 1, 2, 4 s, until one has an
/// answer. `Ok(None)` from `ask` means that this tracker knows of nothing.
pub(crate) async fn ask_each<T, F>(
    endpoints: &[Endpoint],
    (known, credentials): (&Known, &Credentials),
    output: &Output,
    ask: impl Fn(Client) -> F,
) -> anyhow::Result<Answer<T>>
where
    F: Future<Output = Result<Option<T>, ClientError>>,
{
    let mut waiting = endpoints.to_vec();
    let mut answered = false;
    let mut away = None;
    for (round, pause) in RETRIES.into_iter().enumerate() {
        tokio::time::sleep(pause).await;
        let mut still = Vec::new();
        for endpoint in std::mem::take(&mut waiting) {
            let client = Client::new(endpoint.clone(), known).credentials(credentials.clone());
            match ask(client).await {
                Ok(Some(found)) => return Ok(Answer::Found(found, endpoint)),
                Ok(None) => answered = true,
                Err(ClientError::Away(reason)) => {
                    if round == 0 {
                        output.note(&format!(
                            "tracker {endpoint} does not answer ({reason}); trying again"
                        ));
                    }
                    away = Some((endpoint.clone(), reason));
                    still.push(endpoint);
                }
                Err(error) => return Err(error.at(&endpoint).into()),
            }
        }
        waiting = still;
        if waiting.is_empty() {
            break;
        }
    }
    match away {
        Some((endpoint, reason)) if !answered => {
            Err(ClientError::Away(reason).at(&endpoint).into())
        }
        _ => Ok(Answer::Unknown),
    }
}

/// Nobody answered; another time somebody may.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    crate::exit::status(error) == Status::NoPeers
}

/// What trackers know.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// This, says that tracker.
    Found(T, Endpoint),
    /// Nothing, say all that answer.
    Unknown,
}

/// The tracker's port for UDP and HTTP.
pub(crate) const DEFAULT_PORT: u16 = 6969;

/// A machine may have a bridge for each of its containers.
const ADDRS_MAX: usize = 4;
const LOCAL_CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const RETRIES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Between rounds of a search; each round on the LAN takes two seconds more.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(1), Duration::ZERO];

#[cfg(test)]
mod tests {
    use super::*;

    fn teem(host: &str, port: u16) -> Result<TrackerRef, String> {
        Ok(TrackerRef::Teem(Endpoint { host: host.to_owned(), port, scheme: Scheme::Http }))
    }

    fn secure(host: &str, port: u16) -> Result<TrackerRef, String> {
        Ok(TrackerRef::Teem(Endpoint { host: host.to_owned(), port, scheme: Scheme::Https }))
    }

    #[test]
    fn trackers_are_hosts_or_urls() {
        let cases = [
            ("nas", teem("nas", 6969)),
            ("nas.lan:7000", teem("nas.lan", 7000)),
            ("10.0.0.1:1", teem("10.0.0.1", 1)),
            ("::1", teem("::1", 6969)),
            ("[::1]", teem("::1", 6969)),
            ("[fe80::2]:70", teem("fe80::2", 70)),
            ("http://nas:6969", teem("nas", 6969)),
            ("http://nas/", teem("nas", 80)),
            ("http://[::1]:5", teem("::1", 5)),
            ("https://nas:6969/", secure("nas", 6969)),
            ("https://t.example", secure("t.example", 443)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), expected, "{text}");
        }
        let announce = "https://t.example/announce?key=1";
        for url in ["udp://t.example:80", "http://t.example/announce?key=1", announce] {
            assert_eq!(url.parse(), Ok(TrackerRef::Announce(url.to_owned())));
        }
    }

    #[test]
    fn what_is_no_tracker_is_refused() {
        let cases =
            ["", ":6969", "a:b", "a:70000", "a b:1", "nas:0", "ftp://nas", "udp://nas", "[x]:1"];
        for text in cases {
            assert!(text.parse::<TrackerRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_over_tls_is_announced_to_over_tls() {
        let endpoint = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 7).secured();
        assert_eq!(endpoint.to_string(), "https://127.0.0.1:7");
        let [http, udp] = endpoint.tiers(None);
        assert_eq!(http, ["https://127.0.0.1:7/announce"]);
        assert_eq!(udp, ["udp://127.0.0.1:7/announce"]);
        let authority = |text: &str| text.parse::<TrackerRef>().ok()?.secure_authority();
        let known = Some(("127.0.0.1".to_owned(), 7));
        assert_eq!(authority("https://127.0.0.1:7"), known);
        assert_eq!(authority("https://127.0.0.1:7/announce"), known);
        assert_eq!(authority("127.0.0.1:7"), None);
    }

    #[test]
    fn an_ipv6_endpoint_is_written_with_brackets() {
        let endpoint = Endpoint::new(Ipv6Addr::LOCALHOST.into(), 6969);
        assert_eq!(endpoint.to_string(), "[::1]:6969");
        assert_eq!(endpoint.tiers(None)[1], ["udp://[::1]:6969/announce"]);
    }
}
