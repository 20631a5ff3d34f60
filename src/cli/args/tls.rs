//! The flags of HTTPS.

use std::path::PathBuf;

use clap::Args;

use crate::{Address, PlainHttpPolicy, SslContext};

/// The flags of HTTPS.
#[derive(Args, Debug)]
#[command(next_help_heading = "HTTPS")]
pub(super) struct TlsArgs {
    /// Serve HTTPS with a certificate made for this machine, which is kept and reused: a browser asks only once whether
    /// to trust it
    #[arg(long, group = "certificate")]
    adhoc: bool,

    /// Serve HTTPS with the certificate chain in this PEM file; a changed file is loaded without a restart. Given
    /// several times, a client gets the certificate with the name that it asks for, or else the first one
    #[arg(long, value_name = "FILE", group = "certificate")]
    cert: Vec<PathBuf>,

    /// Private key (PEM) of the certificate; with several certificates, one for each --cert in the same order [default:
    /// the one in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Vec<PathBuf>,

    /// Serve plain HTTP on the same port as well, instead of redirecting it to HTTPS
    #[arg(long, requires = "certificate")]
    http_and_https: bool,
}

impl TlsArgs {
    /// Returns for each flag whether it was given.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn given(&self) -> [(bool, &'static str); 3] {
        let TlsArgs { adhoc, cert, http_and_https, .. } = self;
        [(*adhoc, "--adhoc"), (!cert.is_empty(), "--cert"), (*http_and_https, "--http-and-https")]
    }

    /// Loads or makes the certificates, if HTTPS was asked for.
    ///
    /// # Errors
    /// A message: why a certificate can't be used, or that the number of keys is wrong.
    pub(super) fn context(&self, addresses: &[Address]) -> Result<Option<SslContext>, String> {
        let (certs, keys) = (self.cert.len(), self.key.len());
        if keys != 0 && keys != certs {
            return Err(format!(
                "the number of --cert is {certs}, and the number of --key is {keys}: give --key once for each --cert, in \
                 the same order, and name a file that contains both with both flags"
            ));
        }
        let context = match self.cert.split_first() {
            Some((first, others)) => {
                let mut keys = self.key.iter().map(PathBuf::as_path);
                let first = SslContext::from_files(first, keys.next());
                first.and_then(|first| {
                    others.iter().try_fold(first, |all, cert| all.with_certificate(cert, keys.next()))
                })
            }
            None if self.adhoc => {
                // The names that clients use for the server; a wildcard address has none.
                let hosts: Vec<&str> = addresses.iter().filter_map(host).collect();
                SslContext::adhoc_for(&hosts)
            }
            None => return Ok(None),
        };
        let plain = if self.http_and_https { PlainHttpPolicy::Serve } else { PlainHttpPolicy::Redirect };
        context.map(|context| Some(context.plain_http(plain))).map_err(|error| error.to_string())
    }
}

/// Returns the host of an address that stands for one host.
fn host(address: &Address) -> Option<&str> {
    match address {
        Address::Tcp { host, .. } if !matches!(host.as_str(), "" | "*" | "0.0.0.0" | "::") => Some(host),
        _ => None,
    }
}
