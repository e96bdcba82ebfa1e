//! The flags about the DHT, and what they mean for what is shared or fetched.

use std::str::FromStr;

use node::DhtConfig;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct DhtArgs {
    /// Find peers, and be found, through the DHT, which needs no tracker
    #[arg(long, env = "TEEM_DHT", value_name = "WHEN", default_value = "auto")]
    dht: Dht,
    /// Start at these nodes of the DHT, besides those that an earlier run knew [default: public ones]
    #[arg(long, env = "TEEM_DHT_BOOTSTRAP", value_name = "HOST:PORT", value_delimiter = ',')]
    dht_bootstrap: Vec<HostPort>,
}

/// When the DHT is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dht {
    /// For what is fetched by magnet link, info hash or torrent file
    Auto,
    /// For all that is not private
    On,
    /// Never
    Off,
    /// As on, but other nodes' questions are not answered
    ReadOnly,
}

/// Where a torrent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Our own content, or a tracker's catalogue: known to those who were told its name. In the DHT
    /// anybody could come upon its info hash, and with it fetch all of it.
    Told,
    /// A magnet link, an info hash or a torrent file, made for clients that use the DHT.
    Open,
}

/// A place to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPort(String);

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected HOST:PORT";
        let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let port_known = port.parse::<u16>().is_ok_and(|port| port != 0);
        if host.is_empty() || !port_known || (bare.is_none() && host.contains(':')) {
            return Err(wrong);
        }
        Ok(Self(text.to_owned()))
    }
}

impl DhtArgs {
    /// How the node takes part, when it carries a torrent from there.
    pub(super) fn config(&self, origin: Origin) -> Option<DhtConfig> {
        let wanted = match self.dht {
            Dht::Auto => origin == Origin::Open,
            Dht::On | Dht::ReadOnly => true,
            Dht::Off => false,
        };
        let bootstrap = if self.dht_bootstrap.is_empty() {
            PUBLIC.map(str::to_owned).to_vec()
        } else {
            self.dht_bootstrap.iter().map(|host| host.0.clone()).collect()
        };
        wanted.then_some(DhtConfig { bootstrap, read_only: self.dht == Dht::ReadOnly })
    }
}

/// Nodes that are there for those who know no other, run by makers of BitTorrent clients.
const PUBLIC: [&str; 3] =
    ["dht.libtorrent.org:25401", "dht.transmissionbt.com:6881", "router.bittorrent.com:6881"];

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dht: Dht, origin: Origin) -> Option<bool> {
        let args = DhtArgs { dht, dht_bootstrap: vec![HostPort("a:1".into())] };
        let config = args.config(origin);
        config.map(|config| {
            assert_eq!(config.bootstrap, ["a:1"]);
            config.read_only
        })
    }

    #[test]
    fn what_was_told_to_few_is_not_put_into_the_dht_unless_asked_for() {
        assert_eq!(config(Dht::Auto, Origin::Told), None);
        assert_eq!(config(Dht::Auto, Origin::Open), Some(false));
        for origin in [Origin::Told, Origin::Open] {
            assert_eq!(config(Dht::Off, origin), None);
            assert_eq!(config(Dht::On, origin), Some(false));
            assert_eq!(config(Dht::ReadOnly, origin), Some(true));
        }
    }

    #[test]
    fn places_to_start_from_are_hosts_and_ports() {
        for good in ["a.example:6881", "1.2.3.4:1", "[::1]:6881"] {
            assert_eq!(good.parse(), Ok(HostPort(good.to_owned())));
        }
        for bad in ["a.example", ":1", "a:0", "a:70000", "::1:6881", "a:b"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
