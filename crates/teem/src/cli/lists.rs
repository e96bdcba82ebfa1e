//! The flags of lists: which torrents and clients a tracker lets in.

use std::path::PathBuf;

use tracker::ListFiles;

/// Files with one entry a line, `#` before comments; read again at SIGHUP.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Lists")]
pub(super) struct ListArgs {
    /// Let in only the torrents whose info hashes this file lists, one a line
    #[arg(long, env = "TEEM_ALLOW_LIST", value_name = "FILE")]
    allow_list: Option<PathBuf>,
    /// Let in none of the torrents whose info hashes this file lists
    #[arg(long, env = "TEEM_DENY_LIST", value_name = "FILE")]
    deny_list: Option<PathBuf>,
    /// Let in only clients whose peer ids begin as this file lists, one a line, as in -TR40
    #[arg(long, env = "TEEM_ALLOW_CLIENTS", value_name = "FILE")]
    allow_clients: Option<PathBuf>,
    /// Let in no client whose peer id begins as this file lists
    #[arg(long, env = "TEEM_DENY_CLIENTS", value_name = "FILE")]
    deny_clients: Option<PathBuf>,
}

impl ListArgs {
    /// The files.
    pub(super) fn files(&self) -> ListFiles {
        ListFiles {
            allow: self.allow_list.clone(),
            deny: self.deny_list.clone(),
            allow_clients: self.allow_clients.clone(),
            deny_clients: self.deny_clients.clone(),
        }
    }
}
