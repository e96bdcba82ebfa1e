//! Runs the program with a home of its own and nothing of the person's environment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program, with nothing but its own environment and `home` as current folder.
pub(crate) fn teem(home: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("teem"));
    command
        .env_clear()
        .env("HOME", home)
        .env("TEEM_LAN", "off")
        .env("TEEM_DHT", "off")
        .env("TEEM_MAP_PORTS", "off")
        .current_dir(home);
    command.stdin(Stdio::null());
    command
}

/// A folder that is home to some runs.
pub(crate) struct Home {
    folder: TempDir,
}

/// What a run said.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The JSON objects on stdout.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Runs `teem ARGS` to its end, which must be with `status`.
    pub(crate) fn run(&self, args: &[&str], status: i32) -> Said {
        let ended = teem(self.path()).args(args).output().expect("teem runs");
        let stdout = String::from_utf8(ended.stdout).expect("UTF-8");
        let stderr = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(status), "teem {args:?}\n{stdout}\n{stderr}");
        Said { stdout, stderr }
    }

    /// Starts `teem ARGS --json`, which goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = teem(self.path());
        command.args(args).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().expect("teem runs"))
    }

    /// Starts a tracker on a port of its own.
    pub(crate) fn tracker(&self) -> (Running, String) {
        let data = self.path().join("tracker-state");
        let data = data.to_str().expect("UTF-8");
        let mut tracker = self.start(&["tracker", "--listen", "127.0.0.1:0", "--data", data]);
        let ready = tracker.wait_for("ready");
        let address = ready["addresses"][0].as_str().expect("an address").to_owned();
        (tracker, address)
    }
}

/// A run that goes on; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let (sender, stdout) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, stdout, seen: Vec::new() }
    }

    /// The next JSON object of `kind`.
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.stdout.recv_timeout(left) else {
                let _ = self.child.kill();
                let seen = self.seen.join("\n");
                panic!("no {kind} object came:\n{seen}\n{}", self.stderr());
            };
            let object: Value = serde_json::from_str(&line).expect("one JSON object a line");
            self.seen.push(line);
            assert_eq!(object["v"], 1);
            if object["kind"] == kind {
                return object;
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// The exit status, and what it said on stderr.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status.code(), self.stderr());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it did not end");
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that greets everybody with the same bytes.
pub(crate) struct Stranger {
    addr: std::net::SocketAddr,
}

impl Stranger {
    pub(crate) fn start(greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.write_all(greeting);
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        Self { addr }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }
}

/// The only line of a text that has one.
pub(crate) fn one_line(text: &str) -> &str {
    let line = text.strip_suffix('\n').expect("an end of line");
    assert!(!line.contains('\n'), "more than one line: {text}");
    line
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Content that looks random and is the same each time.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
