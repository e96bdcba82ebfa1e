//! Trackers known by their certificates: what is accepted over TLS, and where that is remembered.
//!
//! A tracker of one's own vouches for itself. The certificate that it shows the first time is accepted,
//! named, and remembered in the state folder with the tracker's host and port; from then on only that
//! one will do there. A tracker for which an authority vouched once is held to that. What changes is
//! refused until the person says otherwise with `--tracker-fingerprint`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use node::egress::Gate;
use node::tls::Trust;
use proto::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Status};
use crate::output::Output;
use crate::state::{StateDir, write_whole};

/// What is known of trackers' certificates, and the way to them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Where it is remembered; nowhere when `None`.
    file: Option<PathBuf>,
    trust: Trust,
    gate: Gate,
    output: Output,
}

/// A tracker of which a certificate is known: HOST:PORT, IPv6 in brackets.
pub(crate) type Authority = (String, u16);

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    v: u8,
    /// By HOST:PORT.
    trackers: BTreeMap<String, Sight>,
}

/// By what a tracker is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sight {
    /// SHA-256 of its certificate, in hex.
    #[serde(with = "hex")]
    Certificate(Fingerprint),
    /// An authority vouches for it.
    Authority,
}

mod hex {
    use proto::Fingerprint;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(hash: &Fingerprint, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fingerprint, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Known {
    /// What earlier runs remembered.
    pub(crate) fn open(state: &StateDir, output: &Output) -> Result<Self, Failure> {
        let file = state.path().join(FILE);
        let trust = Trust::default();
        for (tracker, sight) in read(&file)?.trackers {
            if let (Sight::Certificate(fingerprint), Some((host, port))) = (sight, split(&tracker))
            {
                trust.pin(host, port, fingerprint);
            }
        }
        Ok(Self { file: Some(file), trust, gate: Gate::default(), output: output.clone() })
    }

    /// One tracker's certificate, as this process itself shows it.
    pub(crate) fn own((host, port): &Authority, fingerprint: Fingerprint, output: &Output) -> Self {
        let trust = Trust::default();
        trust.pin(host, *port, fingerprint);
        Self { file: None, trust, gate: Gate::default(), output: output.clone() }
    }

    /// Nothing is known, and nothing will be remembered.
    pub(crate) fn nothing(output: &Output) -> Self {
        let (trust, gate) = (Trust::default(), Gate::default());
        Self { file: None, trust, gate, output: output.clone() }
    }

    /// The same, reached that way.
    pub(crate) fn through(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// The way to trackers.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Whom to believe.
    pub(crate) fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// The person says which certificate is the tracker's: whatever was known before.
    pub(crate) fn insist(
        &self,
        (host, port): &Authority,
        fingerprint: Fingerprint,
    ) -> Result<(), Failure> {
        if self.trust.pinned(host, *port) != Some(fingerprint) {
            self.trust.pin(host, *port, fingerprint);
            self.remember(host, *port, Sight::Certificate(fingerprint))?;
        }
        Ok(())
    }

    /// A tracker showed a certificate that no authority vouches for. Accepts it if nothing was known
    /// of that tracker; `false` if it was known by an authority's word.
    pub(crate) fn meet(
        &self,
        (host, port): &Authority,
        found: Fingerprint,
    ) -> Result<bool, Failure> {
        if self.sight(host, *port)? == Some(Sight::Authority) {
            return Ok(false);
        }
        self.trust.pin(host, *port, found);
        self.remember(host, *port, Sight::Certificate(found))?;
        let tracker = join(host, *port);
        self.output.warn(&format!(
            "tracker {tracker} is new: from now on only its certificate with the SHA-256 {found} is accepted"
        ));
        Ok(true)
    }

    /// An authority vouched for a tracker.
    pub(crate) fn vouched(&self, (host, port): &Authority) -> Result<(), Failure> {
        if self.file.is_none() || self.sight(host, *port)?.is_some() {
            return Ok(());
        }
        self.remember(host, *port, Sight::Authority)
    }

    /// Something is known of the tracker.
    pub(crate) fn has_met(&self, (host, port): &Authority) -> Result<bool, Failure> {
        Ok(self.trust.pinned(host, *port).is_some() || self.sight(host, *port)?.is_some())
    }

    /// The tracker is known by its certificate.
    pub(crate) fn is_pinned(&self, (host, port): &Authority) -> bool {
        self.trust.pinned(host, *port).is_some()
    }

    fn sight(&self, host: &str, port: u16) -> Result<Option<Sight>, Failure> {
        let Some(file) = &self.file else { return Ok(None) };
        Ok(read(file)?.trackers.get(&join(host, port)).copied())
    }

    fn remember(&self, host: &str, port: u16, sight: Sight) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        // Read again: another command may have met another tracker meanwhile.
        let mut remembered = read(file)?;
        remembered.v = 1;
        remembered.trackers.insert(join(host, port), sight);
        let json = serde_json::to_vec_pretty(&remembered).map_err(io::Error::from);
        json.and_then(|json| write_whole(file, &json)).map_err(|error| {
            Failure::disk(format!("cannot remember the tracker in {}: {error}", file.display()))
        })
    }
}

/// A damaged file is refused: to forget what was known would be to accept anything.
fn read(file: &Path) -> Result<Remembered, Failure> {
    let mut json = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(FILE_LEN_MAX).read_to_end(&mut json));
    let remembered = match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
        Err(error) => Err(error.to_string()),
        Ok(_) => serde_json::from_slice(&json).map_err(|error| error.to_string()),
    };
    remembered.map_err(|error| {
        let message = format!("cannot read the known trackers in {}: {error}", file.display());
        Failure::new(Status::Failed, message)
            .hint("delete it to forget all of them: each is then accepted anew as it shows itself")
    })
}

fn join(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn split(tracker: &str) -> Option<(&str, u16)> {
    let (host, port) = tracker.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// A fingerprint as people copy it: hex, with or without colons.
pub(crate) fn parse_fingerprint(text: &str) -> Result<Fingerprint, String> {
    let hex = text.replace(':', "");
    hex.parse().map_err(|_| "expected the 64 hex digits of a SHA-256".to_owned())
}

const FILE: &str = "known-trackers.json";
/// Thousands of trackers.
const FILE_LEN_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{ColorChoice, Volume};
    use crate::state::StateArgs;

    fn output() -> Output {
        Output::new(false, Volume::Quiet, ColorChoice::Never)
    }

    fn open(folder: &tempfile::TempDir) -> anyhow::Result<Known> {
        let state = StateArgs { data: Some(folder.path().to_owned()) }.open()?;
        Ok(Known::open(&state, &output())?)
    }

    const ONE: Fingerprint = Fingerprint([1; 32]);
    const TWO: Fingerprint = Fingerprint([2; 32]);

    #[test]
    fn a_certificate_is_accepted_once_and_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let nas = ("NAS".to_owned(), 6969);
        let v6 = ("::1".to_owned(), 6969);
        let first = open(&folder).expect("nothing yet");
        assert!(!first.is_pinned(&nas));
        assert!(first.meet(&nas, ONE).expect("written"));
        assert!(first.meet(&v6, TWO).expect("written"));
        let later = open(&folder).expect("a file");
        assert_eq!(later.trust().pinned("nas", 6969), Some(ONE));
        assert_eq!(later.trust().pinned("::1", 6969), Some(TWO));
        later.insist(&nas, TWO).expect("written");
        let last = open(&folder).expect("a file");
        assert_eq!(last.trust().pinned("nas", 6969), Some(TWO));
    }

    #[test]
    fn whom_an_authority_vouched_for_is_held_to_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let public = ("t.example".to_owned(), 443);
        let known = open(&folder).expect("nothing yet");
        known.vouched(&public).expect("written");
        assert!(!open(&folder).expect("a file").meet(&public, ONE).expect("read"));
        assert!(!known.is_pinned(&public));
        known.insist(&public, ONE).expect("written");
        known.vouched(&public).expect("nothing to do");
        assert!(open(&folder).expect("a file").is_pinned(&public));
    }

    #[test]
    fn a_damaged_file_forgets_nobody_silently() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "{").expect("written");
        assert!(open(&folder).is_err());
    }

    #[test]
    fn a_fingerprint_may_have_colons() {
        let colons = ["01"; 32].join(":");
        assert_eq!(parse_fingerprint(&colons), Ok(ONE));
        assert_eq!(parse_fingerprint(&ONE.to_string().to_uppercase()), Ok(ONE));
        assert!(parse_fingerprint("01").is_err());
    }
}
