//! `teem torrent show`: what is in a torrent file.

use std::path::PathBuf;

use proto::metainfo::{Format, Metainfo};
use serde::Serialize;

use super::Context;
use crate::{torrent_file, units};

/// Show what is in a torrent file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  teem torrent show big.torrent\n  teem torrent show big.torrent --json | jq .magnet"
)]
pub(in crate::cli) struct Args {
    /// The torrent file
    file: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let metainfo = torrent_file::read(&args.file)?;
    let shown = Shown::new(&metainfo);
    context.output.object("torrent", &shown);
    for line in shown.lines() {
        context.output.result(&line);
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    format: &'static str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    piece_length: u32,
    pieces: u32,
    bytes: u64,
    private: bool,
    files: Vec<ShownFile>,
    trackers: Vec<Vec<String>>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
    magnet: String,
}

#[derive(Debug, Serialize)]
struct ShownFile {
    path: String,
    bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces_root: Option<String>,
}

impl Shown {
    fn new(metainfo: &Metainfo) -> Self {
        let info = &metainfo.info;
        let hashes = info.hashes();
        let files = info.files().iter().map(|file| ShownFile {
            path: file.path.join("/"),
            bytes: file.len,
            executable: file.executable,
            symlink: file.symlink.as_ref().map(|target| target.join("/")),
            pieces_root: file.root.map(|root| root.to_string()),
        });
        Self {
            name: info.name().to_owned(),
            format: Format::of(&hashes).name(),
            info_hash_v1: hashes.v1().map(|hash| hash.to_string()),
            info_hash_v2: hashes.v2().map(|hash| hash.to_string()),
            piece_length: info.piece_len(),
            pieces: info.geometry().piece_count(),
            bytes: info.content_len(),
            private: info.is_private(),
            files: files.collect(),
            trackers: metainfo.trackers.clone(),
            comment: metainfo.comment.clone(),
            created_by: metainfo.created_by.clone(),
            creation_date: metainfo.creation_date,
            magnet: crate::magnets::of(metainfo, &[]).to_string(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: String| lines.push(format!("{label:<14} {text}"));
        line("name", self.name.clone());
        line("format", self.format.to_owned());
        for (label, hash) in
            [("info hash v1", &self.info_hash_v1), ("info hash v2", &self.info_hash_v2)]
        {
            if let Some(hash) = hash {
                line(label, hash.clone());
            }
        }
        line("size", format!("{} ({} bytes)", units::size(self.bytes), self.bytes));
        let pieces = format!("{} of {}", self.pieces, units::size(self.piece_length.into()));
        line("pieces", pieces);
        if self.private {
            line("private", "peers come from its trackers only".to_owned());
        }
        for (tier, urls) in self.trackers.iter().enumerate() {
            line(if tier == 0 { "trackers" } else { "" }, urls.join(", "));
        }
        for (label, text) in [("comment", &self.comment), ("created by", &self.created_by)] {
            if let Some(text) = text {
                line(label, text.escape_debug().to_string());
            }
        }
        line("magnet", self.magnet.clone());
        line("files", self.files.len().to_string());
        let width = self.files.len().to_string().len();
        for (number, file) in (1..).zip(&self.files) {
            let size = units::size(file.bytes);
            let link = file.symlink.as_ref().map(|target| format!(" -> {target}"));
            let mark = if file.executable { " *" } else { "" };
            let link = link.unwrap_or_default();
            lines.push(format!("  {number:>width$}  {size:>10}  {}{mark}{link}", file.path));
        }
        lines
    }
}
