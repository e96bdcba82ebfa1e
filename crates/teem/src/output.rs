//! What the program says, and where: results on stdout, everything else on stderr.
//!
//! With `--json` stdout carries one JSON object a line, each with `v` (the version of the shape, 1)
//! and `kind`, and no plain text. Bars live on one [`MultiProgress`], so lines never tear them.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volume {
    /// Errors and results only.
    Quiet,
    /// The usual.
    Normal,
}

/// Writes to stdout and stderr for every part of a command. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    json: bool,
    volume: Volume,
    color_stdout: bool,
    color_stderr: bool,
    terminal: bool,
    /// Notes are JSON objects, as log lines are.
    notes_json: bool,
    bars: MultiProgress,
    failed: AtomicBool,
}

/// How much a note matters, in the words of log lines.
#[derive(Debug, Clone, Copy)]
enum Level {
    Info,
    Warn,
    Error,
}

impl Output {
    /// The process's own stdout and stderr.
    pub(crate) fn new(json: bool, volume: Volume, color: ColorChoice) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal && volume == Volume::Normal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            shared: Arc::new(Shared {
                json,
                volume,
                color_stdout: colored(color, io::stdout().is_terminal()),
                color_stderr: colored(color, terminal),
                terminal,
                notes_json: false,
                bars: MultiProgress::with_draw_target(target),
                failed: AtomicBool::new(false),
            }),
        }
    }

    /// The same, with JSON objects on stderr and nothing else: no bars, no colours.
    pub(crate) fn noting_json(self) -> Self {
        let Shared { json, volume, color_stdout, .. } = *self.shared;
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let (color_stderr, terminal, notes_json, failed) =
            (false, false, true, AtomicBool::new(false));
        Self {
            shared: Arc::new(Shared {
                json,
                volume,
                color_stdout,
                color_stderr,
                terminal,
                notes_json,
                bars,
                failed,
            }),
        }
    }

    /// Bars can be drawn.
    pub(crate) fn has_bars(&self) -> bool {
        self.shared.terminal && self.shared.volume == Volume::Normal
    }

    /// Where bars are drawn.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.shared.bars
    }

    /// stdout takes colours.
    pub(crate) fn colors_results(&self) -> bool {
        self.shared.color_stdout
    }

    /// stderr takes colours.
    pub(crate) fn colors_notes(&self) -> bool {
        self.shared.color_stderr
    }

    /// A line of result for people: left out with `--json`.
    pub(crate) fn result(&self, line: &str) {
        if !self.shared.json {
            self.write_stdout(line);
        }
    }

    /// A result for programs: one line, only with `--json`.
    pub(crate) fn object<T: Serialize>(&self, kind: &str, body: &T) {
        if !self.shared.json {
            return;
        }
        match serde_json::to_string(&Envelope { v: 1, kind, body }) {
            Ok(line) => self.write_stdout(&line),
            Err(_) => self.shared.failed.store(true, Ordering::Relaxed),
        }
    }

    /// A line about what is going on: left out with `--quiet`.
    pub(crate) fn note(&self, line: &str) {
        if self.shared.volume == Volume::Normal {
            self.say(Level::Info, line);
        }
    }

    /// Something is odd, but it goes on: left out with `--quiet`.
    pub(crate) fn warn(&self, line: &str) {
        if self.shared.volume == Volume::Normal {
            self.say(Level::Warn, line);
        }
    }

    /// Must be seen, even with `--quiet`.
    pub(crate) fn urgent(&self, line: &str) {
        self.say(Level::Info, line);
    }

    /// What ended the command, and what to do about it.
    pub(crate) fn error(&self, line: &str, hint: Option<&str>) {
        match hint {
            Some(hint) if self.shared.notes_json => {
                self.say(Level::Error, &format!("{line}; hint: {hint}"));
            }
            _ => self.say(Level::Error, line),
        }
        if let Some(hint) = hint.filter(|_| !self.shared.notes_json) {
            let label = self.paint("\x1b[36m", "hint:");
            self.write_stderr(&format!("{label} {hint}"));
        }
    }

    /// A result could not be written (other than because nobody reads it any more).
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    fn say(&self, level: Level, line: &str) {
        let line = match level {
            _ if self.shared.notes_json => note_object(level, line),
            Level::Info => line.to_owned(),
            Level::Warn => format!("{} {line}", self.paint("\x1b[33m", "warning:")),
            Level::Error => format!("{} {line}", self.paint("\x1b[31m", "error:")),
        };
        self.write_stderr(&line);
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.shared.color_stderr { format!("{color}{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write_stdout(&self, line: &str) {
        let written = self.shared.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(line.as_bytes())?;
            stdout.write_all(b"\n")?;
            stdout.flush()
        });
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(_) => self.shared.failed.store(true, Ordering::Relaxed),
        }
    }

    fn write_stderr(&self, line: &str) {
        // Nobody is left to tell when stderr is gone.
        let _ = self.shared.bars.suspend(|| writeln!(io::stderr().lock(), "{line}"));
    }
}

/// Log lines go to stderr, around the bars.
impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.bars.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u8,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Note<'a> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
}

/// A note in the shape of a log line.
fn note_object(level: Level, message: &str) -> String {
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
    let mut timestamp = String::new();
    // Writing to a string cannot fail.
    _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let note = Note { timestamp: &timestamp, level, message };
    serde_json::to_string(&note).unwrap_or_else(|_| message.to_owned())
}

fn colored(choice: ColorChoice, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            terminal && !dumb && !set("NO_COLOR")
        }
    }
}
