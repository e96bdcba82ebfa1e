//! `teem get`: fetch by name, magnet link, info hash, torrent file or URL, then seed in turn.

mod folder;
mod several;
mod target;
mod url;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use node::{Add, Choice, Content, PieceOrder, Source, Torrent};
use proto::InfoHashes;
use proto::choice::Pattern;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use tokio::task::JoinSet;

use self::several::Ends;
use self::target::Target;
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

/// Fetch by name, magnet link, info hash, torrent file or URL
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
  teem get models/ alpha@2 beta -e
  teem get https://example.org/big.iso --name big.iso
  teem get 'magnet:?xt=urn:btih:…' --seed-ratio 1")]
pub(super) struct Args {
    /// A name in the catalogue (NAME@2 for its second version, FOLDER/ for all names below it), a magnet
    /// link, an info hash, a torrent file, or the URL of one or of any other file. Several are fetched
    /// side by side
    #[arg(value_name = "NAME|MAGNET|INFOHASH|FILE.torrent|URL", required = true)]
    target: Vec<String>,
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
    /// Put what is fetched from a URL under this name, for others to fetch from here and there
    #[arg(long, env = "TEEM_NAME", value_name = "NAME")]
    name: Option<String>,
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
    let targets = args.target.iter().map(|text| Ok((text.clone(), text.parse()?)));
    let targets = targets.collect::<Result<Vec<(String, Target)>, Failure>>()?;
    let folder = writable(&args.output)?;
    let adopt = args.adopt.iter().map(|path| super::share::whole_path(path));
    let adopt = adopt.collect::<Result<Vec<_>, _>>()?;
    let state = args.state.open()?;
    let choice = match args.only.is_empty() {
        true => Choice::All,
        false => Choice::Matching(args.only.clone()),
    };
    let mut streaming = args.stream.clone().bind().await?;
    let mut ends = Ends::new(targets.len() > 1 || targets.iter().any(is_folder), context);
    let wanted = resolve_all(targets, &folder, (&args, &choice, &state), &mut ends, context).await;
    if wanted.is_empty() {
        return ends.end();
    }
    if wanted.len() > 1 && streaming.is_some() {
        let message = "--stream is for one thing at a time";
        return Err(Failure::new(Status::Usage, message).into());
    }
    let told = wanted.iter().any(|wanted| wanted.resolved.origin == Origin::Told);
    let trust = wanted.first().map(|wanted| wanted.resolved.trackers.known.trust());
    let origin = if told { Origin::Told } else { Origin::Open };
    let purpose = format!("get {} {}", args.target.join(" "), folder.display());
    let (from, into) = ((origin, &args.tracker), (&state, purpose.as_str()));
    let node = args.peer.start(from, trust.unwrap_or_default(), into).await?;
    let until = Until {
        begun,
        exit: args.exit,
        seeded: args.seeded,
        timeout: (!args.timeout.is_zero()).then_some(args.timeout),
        telling: Telling::All,
    };
    let mut running = JoinSet::new();
    for wanted in wanted {
        let (target, add) = wanted.into_add(&args, &adopt, &choice);
        let added = context.interrupt.or(async { Ok(node.node().add(add).await?) }).await;
        match added {
            Ok(torrent) => {
                let (until, context, streaming) =
                    (until.clone(), context.clone(), streaming.take());
                running.spawn(async move {
                    (target, follow(&torrent, streaming, &until, &context).await)
                });
            }
            Err(error) => ends.note(&target, Err(error)),
        }
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((target, ended)) => ends.note(&target, ended),
            Err(error) => ends.note("", Err(error.into())),
        }
    }
    node.shutdown().await;
    ends.end()
}

async fn follow(
    torrent: &Torrent,
    streaming: Option<Streaming>,
    until: &Until,
    context: &Context,
) -> anyhow::Result<()> {
    let serving = streaming.map(|server| server.serve(torrent.clone(), context.output.clone()));
    fetching::follow(torrent, until, context).await?;
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

/// One thing to fetch.
struct Wanted {
    /// As the person or the catalogue calls it.
    target: String,
    /// In the catalogue.
    name: Option<String>,
    /// Where it goes.
    folder: PathBuf,
    resolved: Resolved,
}

impl Wanted {
    fn into_add(self, args: &Args, adopt: &[PathBuf], choice: &Choice) -> (String, Add) {
        let Self { target, name, folder, resolved } = self;
        let trackers = resolved.trackers.tiers_beside(&resolved.source);
        let content = resolved.content.unwrap_or(Content::Fetch { folder });
        let order = match args.sequential {
            true => PieceOrder::Sequential,
            false => PieceOrder::RarestFirst,
        };
        let (web_seeds, adopt, choice) = (args.web_seed.clone(), adopt.to_vec(), choice.clone());
        let (peers, common) = (resolved.peers, Add::new(resolved.source, content));
        let add = Add { trackers, peers, web_seeds, adopt, name, order, choice, ..common };
        (target, add)
    }
}

/// Finds out what each target is. What goes wrong with one is noted.
async fn resolve_all(
    targets: Vec<(String, Target)>,
    output: &Path,
    (args, choice, state): (&Args, &Choice, &StateDir),
    ends: &mut Ends<'_>,
    context: &Context,
) -> Vec<Wanted> {
    let (dht, web_seeds) = (args.peer.uses_dht(Origin::Open), !args.web_seed.is_empty());
    let ways = Ways { args: &args.tracker, dht, web_seeds, choice };
    let mut wanted = Vec::new();
    let mut waiting: VecDeque<_> = targets.into();
    while let Some((text, target)) = waiting.pop_front() {
        let found = match target {
            Target::Folder(name) => {
                let names = names_below(&name, ways, state, context).await;
                let found = names.map(|names| {
                    for name in names.into_iter().rev() {
                        waiting.push_front((name.clone(), Target::InFolder(name)));
                    }
                });
                ends.note(&text, found);
                continue;
            }
            Target::Url(url) if !url::is_torrent(&url) => {
                let page = url::Page {
                    url: &url,
                    folder: output,
                    name: args.name.as_deref(),
                    timeout: (!args.timeout.is_zero()).then_some(args.timeout),
                    trackers: &args.tracker,
                    state,
                };
                let resolved = page.resolve(context).await;
                resolved.map(|resolved| (args.name.clone(), output.to_owned(), resolved))
            }
            target @ (Target::Name(_)
            | Target::InFolder(_)
            | Target::Hash(_)
            | Target::Magnet(_)
            | Target::File(_)
            | Target::Url(_)) => resolve_one(target, output, ways, state, context).await,
        };
        match found {
            Ok((name, folder, resolved)) => {
                wanted.push(Wanted { target: text, name, folder, resolved });
            }
            Err(error) => {
                ends.note(&text, Err(error));
                if context.interrupt.has_come() {
                    return Vec::new();
                }
            }
        }
    }
    wanted
}

async fn resolve_one(
    target: Target,
    output: &Path,
    ways: Ways<'_>,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<(Option<String>, PathBuf, Resolved)> {
    let (name, folder) = match &target {
        Target::Name(name) => (Some(name.clone()), output.to_owned()),
        Target::InFolder(name) => (Some(name.clone()), folder::place(output, name)?),
        Target::Hash(_)
        | Target::Magnet(_)
        | Target::File(_)
        | Target::Url(_)
        | Target::Folder(_) => (None, output.to_owned()),
    };
    let resolved = resolve(target, ways, state, context).await?;
    context.interrupt.or(async { Ok(resolved.trackers.meet().await?) }).await?;
    Ok((name, folder, resolved))
}

async fn names_below(
    folder: &str,
    ways: Ways<'_>,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<Vec<String>> {
    let trackers = ways.args.find(state, &context.output, &context.interrupt).await?;
    folder::names(folder, &trackers, context).await
}

fn is_folder((_, target): &(String, Target)) -> bool {
    matches!(target, Target::Folder(_))
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
    /// Where its bytes are, if they are here already.
    content: Option<Content>,
}

impl Resolved {
    fn told(source: Source, trackers: Trackers, peers: Vec<SocketAddr>) -> Self {
        Self { origin: Origin::Told, ..Self::open(source, trackers, peers) }
    }

    fn open(source: Source, trackers: Trackers, peers: Vec<SocketAddr>) -> Self {
        Self { source, trackers, peers, origin: Origin::Open, content: None }
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
        Target::Name(name) | Target::InFolder(name) | Target::Folder(name) => {
            let trackers = args.find(state, &context.output, &context.interrupt).await?;
            match look_up(&name, &trackers, context).await? {
                Some((metainfo, peers)) => {
                    ways.choose(&metainfo)?;
                    let source = Source::Metainfo(metainfo);
                    Ok(Resolved::told(source, trackers, peers))
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
                    return Ok(Resolved::told(source, trackers, peers));
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
        Target::Url(url) => {
            let named = args.named(state, &context.output)?;
            let metainfo = url::metainfo(&url, &named, context).await?;
            of_metainfo(metainfo, ways, state, context).await
        }
        Target::File(path) => {
            let metainfo = torrent_file::read(&path)?;
            of_metainfo(metainfo, ways, state, context).await
        }
    }
}

/// What a torrent file says.
async fn of_metainfo(
    metainfo: Metainfo,
    ways: Ways<'_>,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<Resolved> {
    ways.choose(&metainfo)?;
    let served = ways.web_seeds || !metainfo.web_seeds.is_empty();
    let alone = metainfo.trackers.iter().all(Vec::is_empty) && !served;
    let trackers = named_or_found(alone, ways, state, context).await?;
    Ok(Resolved::open(Source::Metainfo(Box::new(metainfo)), trackers, Vec::new()))
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
