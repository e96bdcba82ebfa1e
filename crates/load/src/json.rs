//! JSON over TCP, as Teem's tracker speaks it (`docs/protocols/json.md`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chance::Chance;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet};

use crate::histogram::{Histogram, Percentiles};
use crate::process::usage;

/// Files that the peers of `json` register.
const FILES: u64 = 100;
/// Times that each peer of a row asks.
const ROW_QUESTIONS: u64 = 20;

/// Asks for peers on connections that stay open
#[derive(Debug, clap::Args)]
pub(crate) struct JsonArgs {
    /// The tracker's JSON port
    #[arg(long)]
    to: SocketAddr,
    /// Its process: tells CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Connections, each with a request under way
    #[arg(long, default_value_t = 10)]
    connections: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
}

/// One row of a table
#[derive(Debug, clap::Args)]
pub(crate) struct RowArgs {
    /// The tracker's JSON port
    #[arg(long)]
    to: SocketAddr,
    /// Its process: tells memory
    #[arg(long)]
    pid: u32,
    /// Peers, all at once
    #[arg(long)]
    peers: u64,
    /// Files, shared out among the peers
    #[arg(long)]
    files: u64,
}

/// What a run found.
#[derive(Debug, Serialize)]
pub(crate) struct JsonReport {
    connections: u64,
    requests_per_sec: f64,
    #[serde(flatten)]
    latency: Percentiles,
    cpu_us_per_request: Option<f64>,
    resident: Option<u64>,
}

/// What a row found.
#[derive(Debug, Serialize)]
pub(crate) struct RowReport {
    peers: u64,
    files: u64,
    requests: u64,
    #[serde(flatten)]
    latency: Percentiles,
    /// Growth of the memory that is no file.
    grown: u64,
    resident: u64,
}

pub(crate) fn run(args: &JsonArgs) -> anyhow::Result<JsonReport> {
    local(async {
        let mut peers = JoinSet::new();
        for number in 0..args.connections {
            let to = args.to;
            peers.spawn_local(async move {
                let mut peer = Peer::open(to, number).await?;
                let file = format!("file-{}", number % FILES);
                peer.register(vec![file]).await?;
                Ok::<_, anyhow::Error>((peer, number))
            });
        }
        let ready = joined(peers).await?;
        let usage_of = || args.pid.map(usage).transpose();
        let before = usage_of()?;
        let begin = Instant::now();
        let limit = Duration::from_secs_f64(args.secs);
        let mut asking = JoinSet::new();
        for (mut peer, number) in ready {
            asking.spawn_local(async move {
                let mut dice = Chance::new(number);
                let mut times = Vec::new();
                while begin.elapsed() < limit {
                    let since = Instant::now();
                    peer.ask_for(format!("file-{}", dice.below(FILES))).await?;
                    times.push(since.elapsed());
                }
                Ok(times)
            });
        }
        let (histogram, requests) = summed(joined(asking).await?);
        let secs = begin.elapsed().as_secs_f64();
        let after = usage_of()?;
        let cpu = before.zip(after).map(|(before, after)| after.cpu_secs - before.cpu_secs);
        Ok(JsonReport {
            connections: args.connections,
            requests_per_sec: requests as f64 / secs,
            latency: histogram.percentiles(),
            cpu_us_per_request: cpu.map(|cpu| cpu * 1e6 / requests.max(1) as f64),
            resident: after.map(|after| after.resident),
        })
    })
}

/// As the seed's clients do it: each request opens a socket of its own.
pub(crate) fn row(args: &RowArgs) -> anyhow::Result<RowReport> {
    local(async {
        let before = usage(args.pid)?;
        let mut peers = JoinSet::new();
        for number in 0..args.peers {
            let (to, files, step) = (args.to, args.files, args.peers);
            peers.spawn_local(async move {
                let mut client = Client { to, number, token: None, times: Vec::new() };
                client.row(files, step as usize).await?;
                Ok::<_, anyhow::Error>(client.times)
            });
        }
        let (histogram, requests) = summed(joined(peers).await?);
        let after = usage(args.pid)?;
        Ok(RowReport {
            peers: args.peers,
            files: args.files,
            requests,
            latency: histogram.percentiles(),
            grown: after.anonymous.saturating_sub(before.anonymous),
            resident: after.resident,
        })
    })
}

fn local<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}

async fn joined<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(result) = tasks.join_next().await {
        all.push(result.context("a client ended")??);
    }
    Ok(all)
}

fn summed(all: Vec<Vec<Duration>>) -> (Histogram, u64) {
    let mut histogram = Histogram::new();
    let mut count = 0;
    for time in all.into_iter().flatten() {
        histogram.record(time.as_nanos() as u64);
        count += 1;
    }
    (histogram, count)
}

/// Each peer has an address of its own.
fn address(number: u64) -> IpAddr {
    Ipv4Addr::new(127, 2, (number / 250) as u8, 1 + (number % 250) as u8).into()
}

async fn open(to: SocketAddr, number: u64) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(address(number), 0))?;
    let stream = socket.connect(to).await.with_context(|| format!("connect to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(number: u64, token: Option<&Rc<str>>, kind: &str, more: Value) -> String {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), kind.into());
    fields.insert("peer_id".to_owned(), format!("peer-{number}").into());
    if let Some(token) = token {
        fields.insert("token".to_owned(), Value::from(&**token));
    }
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    Value::Object(fields).to_string()
}

fn token_in(answer: &str) -> anyhow::Result<Rc<str>> {
    let answer: Value = serde_json::from_str(answer)?;
    Ok(answer["token"].as_str().with_context(|| format!("no token: {answer}"))?.into())
}

fn registration(files: Vec<String>) -> Value {
    let files: Map<_, _> = files.into_iter().map(|file| (file, Value::from(5))).collect();
    json!({"port": 8_080, "files": files})
}

/// A peer on a connection that stays open.
struct Peer {
    stream: BufReader<TcpStream>,
    number: u64,
    token: Option<Rc<str>>,
    line: String,
}

impl Peer {
    async fn open(to: SocketAddr, number: u64) -> anyhow::Result<Self> {
        let stream = BufReader::new(open(to, number).await?);
        let mut peer = Self { stream, number, token: None, line: String::new() };
        peer.ask("AUTH", Value::Null).await?;
        peer.token = Some(token_in(&peer.line)?);
        Ok(peer)
    }

    async fn register(&mut self, files: Vec<String>) -> anyhow::Result<()> {
        self.ask("REGISTER", registration(files)).await?;
        ensure!(self.line.contains("REGISTERED"), "{}", self.line);
        Ok(())
    }

    async fn ask_for(&mut self, file: String) -> anyhow::Result<()> {
        self.ask("PEER_LIST", json!({ "file_name": file })).await?;
        ensure!(self.line.starts_with("{\"peers\":"), "{}", self.line);
        Ok(())
    }

    async fn ask(&mut self, kind: &str, more: Value) -> anyhow::Result<()> {
        let mut text = request(self.number, self.token.as_ref(), kind, more);
        text.push('\n');
        self.stream.get_mut().write_all(text.as_bytes()).await?;
        self.line.clear();
        self.stream.read_line(&mut self.line).await?;
        Ok(())
    }
}

/// A peer that opens a connection for each request.
struct Client {
    to: SocketAddr,
    number: u64,
    token: Option<Rc<str>>,
    times: Vec<Duration>,
}

impl Client {
    async fn row(&mut self, files: u64, step: usize) -> anyhow::Result<()> {
        self.token = Some(token_in(&self.ask("AUTH", Value::Null).await?)?);
        let own = (self.number..files).step_by(step).map(|file| format!("file-{file}")).collect();
        let answer = self.ask("REGISTER", registration(own)).await?;
        ensure!(answer.contains("REGISTERED"), "{answer}");
        let mut dice = Chance::new(self.number);
        for _ in 0..ROW_QUESTIONS {
            let file = format!("file-{}", dice.below(files));
            let answer = self.ask("PEER_LIST", json!({ "file_name": file })).await?;
            ensure!(answer.starts_with("{\"peers\":"), "{answer}");
        }
        Ok(())
    }

    async fn ask(&mut self, kind: &str, more: Value) -> anyhow::Result<String> {
        let text = request(self.number, self.token.as_ref(), kind, more);
        let since = Instant::now();
        let mut stream = open(self.to, self.number).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        self.times.push(since.elapsed());
        Ok(answer)
    }
}
