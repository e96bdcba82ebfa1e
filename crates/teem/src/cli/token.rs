//! `teem token`: who may use a private tracker.
//!
//! Works on the data folder of the tracker, whether it runs or not: whoever may write there
//! administers it. A running tracker takes changes in within a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use tracker::{NewToken, Scope, Secret, Token, TokenId, TokenStore, TokenStoreError};

use super::Context;
use crate::exit::{Failure, Status};
use crate::state::StateArgs;
use crate::table::Table;
use crate::units::{self, parse_duration};

/// Make, list and revoke the tokens of a private tracker
///
/// Works on the tracker's data folder, whether it is running or not.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  teem token create anna --scope publish --expires 90d > anna.token
  teem token ls
  teem token revoke 3")]
pub(super) enum Command {
    Create(CreateArgs),
    Ls(LsArgs),
    Revoke(RevokeArgs),
}

/// Make a token; its secret is printed this once
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Whose it is
    name: String,
    /// What it allows: read (search, fetch, announce), publish (names too) or admin (everything)
    #[arg(long, env = "TEEM_SCOPE", value_name = "SCOPE", default_value = "read", value_parser = parse_scope)]
    scope: Scope,
    /// It ends after this time [default: never]
    #[arg(long, env = "TEEM_EXPIRES", value_name = "TIME", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Words to remember it by
    #[arg(long, env = "TEEM_NOTE", value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    state: StateArgs,
}

/// List the tokens
#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    state: StateArgs,
}

/// Take a token back
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Its number, as `teem token ls` shows it
    id: i64,
    #[command(flatten)]
    state: StateArgs,
}

/// A token as it is printed.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: i64,
    name: &'a str,
    note: &'a str,
    scope: &'static str,
    created: i64,
    expires: Option<i64>,
    revoked: bool,
    /// What its holder sends; only when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    /// What stands in the announce URLs of its holder's clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<&'a str>,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    let context = context.clone();
    let done = tokio::task::spawn_blocking(move || match command {
        Command::Create(args) => create(&args, &context),
        Command::Ls(args) => list(&args, &context),
        Command::Revoke(args) => revoke(&args, &context),
    });
    done.await.context("work on the tokens")?
}

fn create(args: &CreateArgs, context: &Context) -> anyhow::Result<()> {
    let life_secs = args.expires.map(|life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    let (name, note) = (args.name.clone(), args.note.clone());
    let new = NewToken { name, note, scope: args.scope, life_secs };
    let (token, secret) = open(&args.state)?.create(&new, now()).map_err(failure)?;
    tell(&token, &secret, context);
    Ok(())
}

/// Prints a new token: nothing but its secret on standard output, so that it can go to a file.
pub(super) fn tell(token: &Token, secret: &Secret, context: &Context) {
    let passkey = secret.passkey();
    let (secret, passkey) = (secret.reveal(), passkey.reveal());
    let shown = Shown { secret: Some(secret), passkey: Some(passkey), ..Shown::of(token) };
    context.output.object("token", &shown);
    context.output.result(secret);
    let (id, name, scope) = (token.id.0, &token.name, token.scope.name());
    context.output.note(&format!(
        "token {id} of {name}, scope {scope}: keep the line above, it is not shown again; \
         clients without tokens announce to http://TRACKER/{passkey}/announce"
    ));
}

fn list(args: &LsArgs, context: &Context) -> anyhow::Result<()> {
    let mut table = Table::new(["NAME", "ID", "SCOPE", "STATE", "NOTE"]);
    for token in open(&args.state)?.list().map_err(failure)? {
        context.output.object("token", &Shown::of(&token));
        let (id, scope) = (token.id.0.to_string(), token.scope.name().to_owned());
        table.push([token.name.clone(), id, scope, state_of(&token), token.note]);
    }
    if table.is_empty() {
        context.output.note("no tokens yet; `teem token create NAME` makes one");
    } else {
        table.print(&context.output);
    }
    Ok(())
}

fn revoke(args: &RevokeArgs, context: &Context) -> anyhow::Result<()> {
    let Some(token) = open(&args.state)?.revoke(TokenId(args.id)).map_err(failure)? else {
        let message = format!("there is no token {}", args.id);
        return Err(Failure::new(Status::NotFound, message)
            .hint("`teem token ls` shows the numbers")
            .into());
    };
    context.output.object("token", &Shown::of(&token));
    context.output.note(&format!("token {} of {} is revoked", token.id.0, token.name));
    Ok(())
}

impl<'a> Shown<'a> {
    fn of(token: &'a Token) -> Self {
        Self {
            id: token.id.0,
            name: &token.name,
            note: &token.note,
            scope: token.scope.name(),
            created: token.created,
            expires: token.expires,
            revoked: token.revoked,
            secret: None,
            passkey: None,
        }
    }
}

fn open(state: &StateArgs) -> anyhow::Result<TokenStore> {
    let state = state.open()?;
    TokenStore::open(state.path()).map_err(|error| failure(error.into()))
}

fn failure(error: TokenStoreError) -> anyhow::Error {
    let status = match &error {
        TokenStoreError::Token(_) => Status::Usage,
        TokenStoreError::Full => Status::Failed,
        TokenStoreError::Database(_) => Status::Disk,
    };
    Failure::new(status, error.to_string()).into()
}

/// How a token stands, in words.
fn state_of(token: &Token) -> String {
    match (token.revoked, token.expires) {
        (true, _) => "revoked".to_owned(),
        (false, None) => "live".to_owned(),
        (false, Some(end)) => match u64::try_from(end - now()) {
            Ok(left) if left > 0 => format!("{} left", units::duration(Duration::from_secs(left))),
            _ => "expired".to_owned(),
        },
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::from_name(text).ok_or_else(|| "a scope is read, publish or admin".to_owned())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
