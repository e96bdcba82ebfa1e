//! `teem get`: fetch by name, magnet link, info hash or torrent file, then seed in turn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use node::{Add, Choice, Content, Node, NodeConfig, PieceOrder, Source};
use proto::choice::Pattern;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use proto::{InfoHashV1, InfoHashV2, InfoHashes};

use super::Context;
use super::dht::Origin;
use super::peer::PeerArgs;
use super::stream::StreamArgs;
use crate::exit::{Failure, Status};
use crate::fetching::{self, Telling, Until};
use crate::locate::{self, Answer, TrackerArgs, Trackers};
use crate::near;
use crate::seed_limits::SeedLimits;
use crate::state::{StateArgs, StateDir};
use crate::streaming::Streaming;
use crate::torrent_file;
use crate::units::{parse_duration, parse_web_seed};

/// Fetch by name, magnet link, info hash or torrent file
///
/// What is in the folder already is used and never overwritten. Run again after any interruption, it
/// goes on from what is there. When all is there it goes on seeding, unless told otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem get debian.iso
  teem get series --only 'season 1/*.mkv' --only '*.srt'
  teem get film --stream
  teem get debian.iso -o /srv/images --tracker nas:6969 -e
  teem get nightly --adopt ~/old/nightly
  teem get 'magnet:?xt=urn:btih:…' --seed-ratio 1")]
pub(super) struct Args {
    /// A name in the catalogue (NAME@2 for its second version), a magnet link, an info hash or a torrent
    /// file
    #[arg(value_name = "NAME|MAGNET|INFOHASH|FILE.torrent")]
    target: String,
    /// Write into this folder
    #[arg(short, long, env = "TEEM_OUTPUT", value_name = "DIR", default_value = ".")]
    output: PathBuf,
    #[command(flatten)]
    tracker: TrackerArgs,
    /// Fetch only these files: numbers as `teem torrent show` lists them (1,3-5), or a pattern for paths
    /// inside the torrent. '*.mkv' is looked for at any depth, 'season 1/*.mkv' and '/read.me' from the
    /// top, 'extras/' is a folder with all that is in it, ** is any number of folders; case counts.
    /// Repeat for more. Without it, a magnet link's own choice holds
    #[arg(long, env = "TEEM_ONLY", value_name = "FILES", value_delimiter = '\n')]
    only: Vec<Pattern>,
    /// Fetch from this web server, too, wherever it is; it has the content as plain files (BEP 19).
    /// Repeat for more
    #[arg(
        long, env = "TEEM_WEB_SEED", value_name = "URL", value_delimiter = ' ',
        value_parser = parse_web_seed
    )]
    web_seed: Vec<String>,
    /// Take what is right from the old or partial copies in this folder, whatever their names; nothing in
    /// it is changed. Repeat for more
    #[arg(long, env = "TEEM_ADOPT", value_name = "DIR")]
    adopt: Vec<PathBuf>,
    /// End when all is there and safe on disk
    #[arg(short, long, env = "TEEM_EXIT", value_parser = FalseyValueParser::new())]
    exit: bool,
    /// Fetch from the beginning to the end, for who reads it while it comes; rarest pieces first is faster
    /// for all
    #[arg(long, env = "TEEM_SEQUENTIAL", value_parser = FalseyValueParser::new())]
    sequential: bool,
    #[command(flatten)]
    stream: StreamArgs,
    #[command(flatten)]
    seeded: SeedLimits,
    /// Give up after this long without any source; 0 to wait for ever
    #[arg(
        long, env = "TEEM_TIMEOUT", value_name = "TIME", default_value = "60",
        value_parser = parse_duration
    )]
    timeout: Duration,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    let target: Target = args.target.parse().map_err(|failure: Failure| failure)?;
    let folder = writable(&args.output)?;
    let adopt = args.adopt.iter().map(|path| super::share::whole_path(path));
    let adopt = adopt.collect::<Result<Vec<_>, _>>()?;
    let state = args.state.open()?;
    let name = match &target {
        Target::Name(name) => Some(name.clone()),
        Target::Hash(_) | Target::Magnet(_) | Target::File(_) => None,
    };
    let streaming = args.stream.bind().await?;
    let (dht, web_seeds) = (args.peer.uses_dht(Origin::Open), !args.web_seed.is_empty());
    let choice = if args.only.is_empty() { Choice::All } else { Choice::Matching(args.only) };
    let ways = Ways { args: &args.tracker, dht, web_seeds, choice: &choice };
    let Resolved { source, trackers, peers, origin } =
        resolve(target, ways, &state, context).await?;
    context.interrupt.or(async { Ok(trackers.meet().await?) }).await?;
    let config =
        NodeConfig { trust: trackers.known.trust(), ..args.peer.config(origin, &args.tracker) };
    let trackers = trackers.tiers_beside(&source);
    let purpose = format!("get {} {}", args.target, folder.display());
    let node = state.start_node(config, &purpose).await?;
    let node = args.peer.open_to_peers(node, &args.tracker);
    let order = if args.sequential { PieceOrder::Sequential } else { PieceOrder::RarestFirst };
    let content = Content::Fetch { folder };
    let web_seeds = args.web_seed;
    let common = Add::new(source, content);
    let add = Add { trackers, peers, web_seeds, adopt, name, order, choice, ..common };
    let until = Until {
        begun,
        exit: args.exit,
        seeded: args.seeded,
        timeout: (!args.timeout.is_zero()).then_some(args.timeout),
        telling: Telling::All,
    };
    let ended = follow(node.node(), add, streaming, &until, context).await;
    node.shutdown().await;
    ended
}

async fn follow(
    node: &Node,
    add: Add,
    streaming: Option<Streaming>,
    until: &Until,
    context: &Context,
) -> anyhow::Result<()> {
    let torrent = context.interrupt.or(async { Ok(node.add(add).await?) }).await?;
    let serving = streaming.map(|server| server.serve(torrent.clone(), context.output.clone()));
    fetching::follow(&torrent, until, context).await?;
    match serving {
        // All is there: whoever reads may read to the end.
        Some(serving) => {
            let drained = async {
                serving.drained().await;
                Ok(())
            };
            context.interrupt.or(drained).await
        }
        None => Ok(()),
    }
}

/// What the person wants.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Name(String),
    Hash(InfoHashes),
    Magnet(Box<Magnet>),
    File(PathBuf),
}

impl FromStr for Target {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:")) {
            let magnet = text.parse::<Magnet>();
            return magnet.map(Box::new).map(Self::Magnet).map_err(|error| {
                Failure::new(Status::Usage, format!("this magnet link cannot be used: {error}"))
                    .hint("put it in quotes: the shell takes `&` for itself")
            });
        }
        if text.contains("://") {
            return Err(Failure::new(Status::Usage, "a URL cannot be fetched from")
                .hint("download the .torrent file and give its path"));
        }
        let v1 = text.parse::<InfoHashV1>().ok();
        let v2 = text.parse::<InfoHashV2>().ok();
        if let Some(hashes) = InfoHashes::new(v1, v2) {
            return Ok(Self::Hash(hashes));
        }
        let path = Path::new(text);
        let torrent_file = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("torrent"));
        if torrent_file && (path.is_file() || path.components().count() > 1) {
            return Ok(Self::File(path.to_owned()));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// What to add to the node.
struct Resolved {
    source: Source,
    /// To announce to, beside those of the source.
    trackers: Trackers,
    /// Known already.
    peers: Vec<SocketAddr>,
    /// Where it comes from.
    origin: Origin,
}

impl Resolved {
    fn open(source: Source, trackers: Trackers, peers: Vec<SocketAddr>) -> Self {
        Self { source, trackers, peers, origin: Origin::Open }
    }
}

/// How peers can be found.
#[derive(Debug, Clone, Copy)]
struct Ways<'a> {
    args: &'a TrackerArgs,
    /// What is open may be found without a tracker.
    dht: bool,
    /// The person names web seeds.
    web_seeds: bool,
    /// The files that are wanted.
    choice: &'a Choice,
}

impl Ways<'_> {
    /// Some file is meant: better said now than when a tracker is found.
    fn choose(self, metainfo: &Metainfo) -> Result<(), Failure> {
        let chosen = self.choice.of(&metainfo.info);
        chosen.map(drop).map_err(|error| Failure::no_such_file(error.to_string()))
    }

    /// Trackers with a catalogue; none only if what is wanted may be found without.
    async fn find(self, state: &StateDir, context: &Context) -> anyhow::Result<Trackers> {
        let (output, interrupt) = (&context.output, &context.interrupt);
        if self.dht {
            self.args.find_if_there(state, output, interrupt).await
        } else {
            self.args.find(state, output, interrupt).await
        }
    }
}

async fn resolve(
    target: Target,
    ways: Ways<'_>,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<Resolved> {
    let args = ways.args;
    match target {
        Target::Name(name) => {
            let trackers = args.find(state, &context.output, &context.interrupt).await?;
            match look_up(&name, &trackers, context).await? {
                Some((metainfo, peers)) => {
                    ways.choose(&metainfo)?;
                    let source = Source::Metainfo(metainfo);
                    Ok(Resolved { source, trackers, peers, origin: Origin::Told })
                }
                None => Err(unknown(&name, &trackers, context).await.into()),
            }
        }
        Target::Hash(hashes) => {
            let magnet = Magnet::from(hashes);
            let mut trackers = args.named(state, &context.output)?;
            if trackers.announce.is_empty() || !trackers.catalogues.is_empty() {
                trackers = ways.find(state, context).await?;
                let text = match (hashes.v1(), hashes.v2()) {
                    (Some(v1), _) => v1.to_string(),
                    (None, v2) => v2.map(|v2| v2.to_string()).unwrap_or_default(),
                };
                if let Some((metainfo, peers)) = look_up(&text, &trackers, context).await? {
                    is_what_was_asked(hashes, &metainfo)?;
                    ways.choose(&metainfo)?;
                    let source = Source::Metainfo(metainfo);
                    return Ok(Resolved { source, trackers, peers, origin: Origin::Told });
                }
            }
            Ok(Resolved::open(Source::Magnet(magnet), trackers, Vec::new()))
        }
        Target::Magnet(magnet) => {
            let peers = magnet.peers.clone();
            let alone = magnet.trackers.is_empty() && peers.is_empty();
            let trackers = named_or_found(alone, ways, state, context).await?;
            Ok(Resolved::open(Source::Magnet(*magnet), trackers, peers))
        }
        Target::File(path) => {
            let metainfo = torrent_file::read(&path)?;
            ways.choose(&metainfo)?;
            let served = ways.web_seeds || !metainfo.web_seeds.is_empty();
            let alone = metainfo.trackers.iter().all(Vec::is_empty) && !served;
            let trackers = named_or_found(alone, ways, state, context).await?;
            Ok(Resolved::open(Source::Metainfo(Box::new(metainfo)), trackers, Vec::new()))
        }
    }
}

/// What brings its own trackers needs no other; what is alone needs one.
async fn named_or_found(
    alone: bool,
    ways: Ways<'_>,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<Trackers> {
    let named = ways.args.named(state, &context.output)?;
    if alone && named.catalogues.is_empty() && named.announce.is_empty() {
        return ways.find(state, context).await;
    }
    Ok(named)
}

/// A name or a hash in the catalogues.
async fn look_up(
    name: &str,
    trackers: &Trackers,
    context: &Context,
) -> anyhow::Result<Option<(Box<Metainfo>, Vec<SocketAddr>)>> {
    if trackers.catalogues.is_empty() {
        return Ok(None);
    }
    let ask = async |client: crate::client::Client| client.torrent(name).await;
    let answer = locate::ask_each(&trackers.catalogues, trackers.asker(), &context.output, ask);
    match context.interrupt.or(answer).await? {
        Answer::Found(torrent, endpoint) => {
            let metainfo = Metainfo::decode(&torrent.bytes).with_context(|| {
                format!("tracker {endpoint} sent a torrent that cannot be used")
            })?;
            Ok(Some((Box::new(metainfo), torrent.peers)))
        }
        Answer::Unknown => Ok(None),
    }
}

/// A tracker is not believed: the hash decides.
fn is_what_was_asked(asked: InfoHashes, metainfo: &Metainfo) -> Result<(), Failure> {
    let hashes = metainfo.info.hashes();
    let same_v1 = asked.v1().is_none_or(|v1| hashes.v1() == Some(v1));
    let same_v2 = asked.v2().is_none_or(|v2| hashes.v2() == Some(v2));
    if same_v1 && same_v2 {
        return Ok(());
    }
    Err(Failure::new(Status::Verification, "the tracker sent another torrent than was asked for"))
}

/// No tracker has that name: says which are like it.
pub(crate) async fn unknown(name: &str, trackers: &Trackers, context: &Context) -> Failure {
    let mut names = Vec::new();
    for endpoint in &trackers.catalogues {
        let client = crate::client::Client::new(endpoint.clone(), &trackers.known)
            .credentials(trackers.credentials.clone());
        let page = tokio::time::timeout(SUGGESTION_TIME, client.page("", None));
        let wait = context.interrupt.or(async { Ok(page.await) });
        if let Ok(Ok(Ok(page))) = wait.await {
            names.extend(page.entries.into_iter().map(|entry| entry.name));
        }
    }
    let failure = Failure::new(Status::NotFound, format!("the tracker knows no name {name:?}"));
    match near::nearest(name, &names) {
        Some(like) => failure.hint(format!("did you mean {like:?}? `teem ls` lists all names")),
        None => failure.hint("`teem ls` lists the names that it has"),
    }
}

/// The folder to write into, absolute; made if it is not there, refused if nothing can be written.
pub(super) fn writable(folder: &Path) -> anyhow::Result<PathBuf> {
    let refused = |error: std::io::Error| {
        let message = format!("cannot write to {}: {error}", folder.display());
        Failure::new(Status::Disk, message)
            .hint("choose a folder of yours with --output DIR, or change its permissions")
    };
    std::fs::create_dir_all(folder).map_err(refused)?;
    let folder = std::fs::canonicalize(folder).map_err(refused)?;
    let probe = folder.join(format!(".teem-{}.tmp", std::process::id()));
    let made = std::fs::File::options().write(true).create_new(true).open(&probe);
    made.map_err(refused)?;
    std::fs::remove_file(&probe).map_err(refused)?;
    Ok(folder)
}

/// A hint is not worth a longer wait.
const SUGGESTION_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Target> {
        text.parse().ok()
    }

    #[test]
    fn hashes_and_names_are_told_apart() {
        let v1 = "0123456789abcdef0123456789abcdef01234567";
        let hashes = InfoHashes::new(v1.parse().ok(), None).expect("one hash");
        assert_eq!(parsed(v1), Some(Target::Hash(hashes)));
        let v2 = "01".repeat(32);
        let hashes = InfoHashes::new(None, v2.parse().ok()).expect("one hash");
        assert_eq!(parsed(&v2), Some(Target::Hash(hashes)));
        for name in ["debian.iso", "a b", "gone.torrent", &v1[1..]] {
            assert_eq!(parsed(name), Some(Target::Name(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn a_path_to_a_torrent_file_is_never_taken_for_a_name() {
        let path = "gone/x.torrent";
        assert_eq!(parsed(path), Some(Target::File(path.into())));
    }

    #[test]
    fn broken_links_and_urls_are_wrong_use() {
        for text in ["magnet:?xt=urn:btih:123", "http://x/a.torrent"] {
            let refused = text.parse::<Target>().map_err(anyhow::Error::from);
            assert_eq!(refused.map_err(|error| crate::exit::status(&error)), Err(Status::Usage));
        }
    }
}
