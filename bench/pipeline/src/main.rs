//! The bare pipeline: `pipeline --hash sha1|sha256 FROM TO`.
//!
//! One process sends a file with `sendfile` over TCP on 127.0.0.1. This one takes it in two threads:
//! one reads pieces of 512 KiB from the socket, one hashes each and writes it to its place. No
//! protocol, no choice of pieces, nothing compared: about what the machine allows to any client that
//! hashes one piece after another. Prints one JSON line.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Instant;

use sha1::Digest;

/// Bytes in a piece.
const PIECE_LEN: usize = 512 * 1024;
/// Pieces between the two threads.
const PIECES_WAITING: usize = 8;
const USAGE: &str = "usage: pipeline --hash sha1|sha256 FROM TO";

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    fn of(self, piece: &[u8]) {
        match self {
            Self::Sha1 => drop(black_box(sha1::Sha1::digest(piece))),
            Self::Sha256 => drop(black_box(sha2::Sha256::digest(piece))),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--serve", from] => serve(from),
        ["--hash", "sha1", from, to] => fetch(Hash::Sha1, from, to),
        ["--hash", "sha256", from, to] => fetch(Hash::Sha256, from, to),
        _ => Err(USAGE.into()),
    }
}

/// The sender: prints its port, serves one connection and ends.
fn serve(from: &str) -> Result<(), Box<dyn Error>> {
    let file = File::open(from)?;
    let len = file.metadata()?.len();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (socket, _) = listener.accept()?;
    let mut left = usize::try_from(len)?;
    while left > 0 {
        let now = left.min(1 << 30);
        // SAFETY: both descriptors are open for as long as the call takes, and a null offset makes the
        // kernel use and move the file's own.
        let sent = unsafe {
            libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), std::ptr::null_mut(), now)
        };
        match usize::try_from(sent) {
            Ok(0) => return Err("the file became shorter".into()),
            Ok(sent) => left -= sent,
            Err(_) => return Err(io::Error::last_os_error().into()),
        }
    }
    Ok(())
}

/// A piece's bytes and its place in the file.
struct Piece {
    bytes: Vec<u8>,
    len: usize,
    offset: u64,
}

fn fetch(hash: Hash, from: &str, to: &str) -> Result<(), Box<dyn Error>> {
    let len = std::fs::metadata(from)?.len();
    let output = File::create(to)?;
    let (mut server, port) = start_server(from)?;
    let start = Instant::now();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (full_tx, full_rx) = sync_channel(PIECES_WAITING);
    let (empty_tx, empty_rx) = channel();
    for _ in 0..PIECES_WAITING {
        empty_tx.send(vec![0; PIECE_LEN])?;
    }
    let received = std::thread::scope(|scope| {
        let worker = scope.spawn(|| hash_and_write(hash, &output, full_rx, empty_tx));
        let received = receive(socket, full_tx, empty_rx);
        worker.join().expect("the worker does not panic")?;
        received
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let status = server.wait()?;
    if received != len || !status.success() {
        return Err(format!("{received} of {len} bytes came; the sender: {status}").into());
    }
    let (client_cpu, server_cpu) = (cpu(libc::RUSAGE_SELF)?, cpu(libc::RUSAGE_CHILDREN)?);
    println!(
        "{{\"seconds\":{seconds:.6},\"bytes\":{len},\"bytes_per_second\":{:.0},\
         \"cpu_seconds\":{:.6},\"client_cpu_seconds\":{client_cpu:.6},\
         \"server_cpu_seconds\":{server_cpu:.6}}}",
        len as f64 / seconds,
        client_cpu + server_cpu,
    );
    Ok(())
}

/// Starts the sender in a process of its own, so that the CPU time of each side is known.
fn start_server(from: &str) -> Result<(Child, u16), Box<dyn Error>> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["--serve", from])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = server.stdout.take().ok_or("the sender has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((server, line.trim().parse()?))
}

/// Reads whole pieces until the sender is done; ends early when the other thread does.
fn receive(
    mut socket: TcpStream,
    full: SyncSender<Piece>,
    empty: Receiver<Vec<u8>>,
) -> io::Result<u64> {
    let mut offset = 0;
    while let Ok(mut bytes) = empty.recv() {
        let mut len = 0;
        while len < PIECE_LEN {
            match socket.read(&mut bytes[len..])? {
                0 => break,
                more => len += more,
            }
        }
        if len == 0 || full.send(Piece { bytes, len, offset }).is_err() {
            break;
        }
        offset += len as u64;
    }
    Ok(offset)
}

/// Hashes each piece and writes it to its place.
fn hash_and_write(
    hash: Hash,
    output: &File,
    full: Receiver<Piece>,
    empty: Sender<Vec<u8>>,
) -> io::Result<()> {
    for piece in full {
        let bytes = &piece.bytes[..piece.len];
        hash.of(bytes);
        output.write_all_at(bytes, piece.offset)?;
        // The reader may be done already.
        let _ = empty.send(piece.bytes);
    }
    Ok(())
}

/// CPU seconds, user and system together.
fn cpu(who: libc::c_int) -> io::Result<f64> {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the memory is a `rusage`'s, which a call that succeeds fills.
    let usage: libc::rusage = unsafe {
        if libc::getrusage(who, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}
