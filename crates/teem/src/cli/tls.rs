//! The flags of a tracker that speaks TLS or stands behind a proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use tracker::{CertificateSource, Plain, TlsConfig, TrustedProxy};

use crate::hosting;
use crate::listen;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "TLS and proxies")]
pub(super) struct TlsArgs {
    /// Speak TLS too, on the same ports; the certificate is made at the first start and kept
    #[arg(long, env = "TEEM_TLS", value_parser = FalseyValueParser::new())]
    tls: bool,
    /// Speak TLS with this certificate and the chain behind it, in PEM
    #[arg(long, env = "TEEM_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, env = "TEEM_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS, and refuse plain HTTP and JSON
    #[arg(long, env = "TEEM_TLS_ONLY", value_parser = FalseyValueParser::new())]
    tls_only: bool,
    /// Believe what proxies in this network say of their clients (X-Forwarded-For, Forwarded), at
    /// every HTTP listener or only at the one before the `=`; repeat for more
    #[arg(
        long,
        env = "TEEM_TRUSTED_PROXY",
        value_name = "[ADDR:PORT=]CIDR",
        value_delimiter = ','
    )]
    trusted_proxy: Vec<TrustedProxy>,
}

impl TlsArgs {
    /// How a tracker that listens there speaks TLS, if it does.
    pub(super) fn config(&self, listen: &[SocketAddr]) -> Option<TlsConfig> {
        let certificate = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => {
                CertificateSource::Files { chain: chain.clone(), key: key.clone() }
            }
            _ if self.tls || self.tls_only => {
                CertificateSource::SelfSigned { names: own_names(listen) }
            }
            _ => return None,
        };
        let plain = if self.tls_only { Plain::Refused } else { Plain::Served };
        Some(TlsConfig { certificate, plain })
    }

    /// Whose word about clients is believed.
    pub(super) fn proxies(&self) -> Vec<TrustedProxy> {
        self.trusted_proxy.clone()
    }
}

/// Every name and address by which clients may ask for a server that listens there.
fn own_names(listen: &[SocketAddr]) -> Vec<String> {
    let own = hosting::own_host_names().map(|name| name.to_ascii_lowercase());
    let mut names: Vec<String> = own.collect();
    let multicast: Vec<_> = names.iter().filter(|name| !name.contains('.')).cloned().collect();
    names.extend(multicast.into_iter().map(|name| format!("{name}.local")));
    names.push("localhost".to_owned());
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let everywhere = listen.iter().any(|addr| addr.ip().is_unspecified());
    let ips = listen::reachable(listen).into_iter().map(|addr| addr.ip());
    let given = listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    let ips = ips.chain(given).chain(loopback.into_iter().filter(|_| everywhere));
    names.extend(ips.map(|ip| ip.to_string()));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_what_is_listened_on() {
        let at = |addr: &str| addr.parse::<SocketAddr>().expect("an address");
        let names = own_names(&[at("127.0.0.9:1"), at("[::1]:1")]);
        for name in ["127.0.0.9", "::1", "localhost"] {
            assert!(names.iter().any(|own| own == name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name == "127.0.0.1"), "{names:?}");
        let names = own_names(&[at("0.0.0.0:1")]);
        assert!(names.iter().any(|name| name == "127.0.0.1"), "{names:?}");
        assert!(!names.iter().any(|name| name == "0.0.0.0"), "{names:?}");
    }
}
