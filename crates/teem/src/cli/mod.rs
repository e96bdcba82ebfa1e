//! The command line: what may be typed, and one file for each subcommand.
//!
//! Every long flag has an environment variable, `TEEM_` and its name; a flag wins over the
//! environment, and that over the default. The words, numbers and JSON here are promises to scripts.

mod backup;
mod daemon;
mod dht;
mod follow;
mod get;
mod lists;
mod ls;
mod peer;
mod share;
mod stream;
mod tls;
mod token;
mod torrent;
mod tracker;
mod transfers;
mod unpublish;
mod up;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub(crate) use get::unknown;

use crate::exit;
use crate::output::{ColorChoice, Output, Volume};
use crate::signal::Interrupt;

macro_rules! examples {
    () => {
        "Examples:
  teem up ./folder                       share a folder from this machine, all in one
  teem get folder                        fetch it on another machine of the same network
  teem get folder --tracker nas:6969 -e  the same from anywhere, and end when it is there

`teem COMMAND --help` has more."
    };
}

macro_rules! exit_statuses {
    () => {
        "Exit status:
  0 done    1 failed    2 usage    3 name not found    4 verification failed
  5 not authorised    6 no peers or time-out    7 disk    130 interrupted    143 terminated"
    };
}

/// Share files with many people and machines at the speed of the swarm
#[derive(Debug, Parser)]
#[command(
    name = "teem",
    version,
    about,
    after_help = EXAMPLES,
    after_long_help = concat!(examples!(), "\n\n", exit_statuses!()),
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every subcommand.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Output")]
struct Global {
    /// Print results as JSON, one object a line
    #[arg(long, global = true, env = "TEEM_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
    /// Say nothing but results and errors
    #[arg(
        short, long, global = true, env = "TEEM_QUIET", value_parser = FalseyValueParser::new(),
        conflicts_with = "verbose"
    )]
    quiet: bool,
    /// Log what happens; twice for more, three times for everything
    #[arg(short, long, global = true, env = "TEEM_VERBOSE", action = ArgAction::Count)]
    verbose: u8,
    /// How notes and log lines are written: as text, or each as a JSON object
    #[arg(
        long,
        global = true,
        env = "TEEM_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// Colours
    #[arg(long, global = true, env = "TEEM_COLOR", value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Tracker(tracker::Args),
    Share(share::Args),
    Get(get::Args),
    Follow(follow::Args),
    Daemon(daemon::Args),
    Transfers(transfers::ListArgs),
    // `teem transfers --help` names these: the list of commands is for beginners, too.
    #[command(hide = true)]
    Hold(transfers::HoldArgs),
    #[command(hide = true)]
    Resume(transfers::ResumeArgs),
    #[command(hide = true)]
    Recheck(transfers::RecheckArgs),
    #[command(hide = true)]
    Move(transfers::MoveArgs),
    #[command(hide = true)]
    Rename(transfers::RenameArgs),
    #[command(hide = true)]
    Queue(transfers::QueueArgs),
    #[command(hide = true)]
    Remove(transfers::RemoveArgs),
    Ls(ls::Args),
    Unpublish(unpublish::Args),
    #[command(subcommand)]
    Torrent(torrent::Command),
    #[command(subcommand)]
    Token(token::Command),
}

/// How notes and log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line, with `timestamp`, `level` and `message`.
    Json,
}

/// What every subcommand works with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where it speaks.
    pub(crate) output: Output,
    /// When to stop.
    pub(crate) interrupt: Interrupt,
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come here too, with status 0.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let volume = if cli.global.quiet { Volume::Quiet } else { Volume::Normal };
    let output = Output::new(cli.global.json, volume, cli.global.color);
    let output = match cli.global.log_format {
        LogFormat::Text => output,
        LogFormat::Json => output.noting_json(),
    };
    let chatty = matches!(cli.command, Command::Tracker(_)) && std::io::stderr().is_terminal();
    log_to(&output, &cli.global, chatty);
    // The defaults of many systems (1,024, on some 256) are too few for hundreds of peers and files.
    // Less than asked for is no error: the node plans with what there is.
    let _ = rlimit::increase_nofile_limit(DESCRIPTORS_WANTED);
    let ended = execute(cli.command, &output);
    let code = match ended {
        Ok(()) if output.has_failed() => {
            output.error("cannot write to standard output", None);
            exit::Status::Failed as u8
        }
        Ok(()) => 0,
        Err(error) => {
            let message = format!("{error:#}");
            if !message.is_empty() {
                output.error(&message.replace('\n', " "), exit::hint(&error));
            }
            exit::status(&error) as u8
        }
    };
    ExitCode::from(code)
}

fn execute(command: Command, output: &Output) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(async {
        let interrupt = Interrupt::watch(output.clone()).context("listen for signals")?;
        let context = Context { output: output.clone(), interrupt };
        match command {
            Command::Up(args) => up::run(args, &context).await,
            Command::Tracker(args) => tracker::run(args, &context).await,
            Command::Share(args) => share::run(args, &context).await,
            Command::Get(args) => get::run(args, &context).await,
            Command::Follow(args) => follow::run(args, &context).await,
            Command::Daemon(args) => daemon::run(args, &context).await,
            Command::Transfers(args) => transfers::list(args, &context).await,
            Command::Hold(args) => transfers::hold(args, &context).await,
            Command::Resume(args) => transfers::resume(args, &context).await,
            Command::Recheck(args) => transfers::recheck(args, &context).await,
            Command::Move(args) => transfers::relocate(args, &context).await,
            Command::Rename(args) => transfers::rename(args, &context).await,
            Command::Queue(args) => transfers::queue(args, &context).await,
            Command::Remove(args) => transfers::remove(args, &context).await,
            Command::Ls(args) => ls::run(args, &context).await,
            Command::Unpublish(args) => unpublish::run(args, &context).await,
            Command::Torrent(command) => torrent::run(command, &context).await,
            Command::Token(command) => token::run(command, &context).await,
        }
    });
    // A thread that still reads a large file must not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    ended
}

/// `chatty` at a terminal: who watches a tracker sees who comes and goes.
fn log_to(output: &Output, global: &Global, chatty: bool) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) if !chatty => "warn,mdns_sd=error,rustls=error",
        (false, 0 | 1) => "info,mdns_sd=warn,rustls=error",
        (false, 2) => "debug,mdns_sd=info",
        (false, _) => "trace",
    };
    let filter = std::env::var("TEEM_LOG").ok();
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(level));
    let writer = output.clone();
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(level)))
        .with_writer(move || writer.clone());
    // Fails only when a subscriber is there already, which logs as well.
    let _ = match global.log_format {
        LogFormat::Text => {
            logger.with_target(global.verbose > 1).with_ansi(output.colors_notes()).try_init()
        }
        LogFormat::Json => logger
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    };
}

const EXAMPLES: &str = examples!();
/// Peers, files and sockets of a busy node; more than any default limit of it can use.
const DESCRIPTORS_WANTED: u64 = 65_536;
/// The data path has threads of its own; these carry signals, the API and the command itself.
const RUNTIME_THREADS: usize = 2;
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn check_flags(command: &clap::Command) {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            if matches!(long, "help" | "version") {
                continue;
            }
            let expected = format!("TEEM_{}", long.to_uppercase().replace('-', "_"));
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            assert_eq!(variable, Some(expected), "--{long} of {}", command.get_name());
        }
        command.get_subcommands().for_each(check_flags);
    }

    #[test]
    fn every_long_flag_has_its_environment_variable() {
        let command = Cli::command();
        command.clone().debug_assert();
        check_flags(&command);
    }
}
