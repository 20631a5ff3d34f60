//! The flags of TLS, and `amboss devcert`.

use std::path::PathBuf;

use clap::Args;

use crate::{Address, LocalCa, PlainHttpPolicy, SslContext};

#[derive(Args, Debug)]
#[command(next_help_heading = "HTTPS")]
pub(super) struct TlsArgs {
    /// HTTPS with a certificate made for this machine, kept and used again: a browser asks once whether to trust it
    #[arg(long, conflicts_with = "cert")]
    adhoc: bool,

    /// HTTPS with the certificate in this PEM file, and its chain; a changed file is picked up without a restart
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The private key (PEM), unless it stands in the file of the certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Serve plain HTTP on the same port, too, instead of redirecting it to HTTPS
    #[arg(long)]
    http_and_https: bool,
}

impl TlsArgs {
    /// Which flags are there.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn given(&self) -> [(bool, &'static str); 3] {
        let TlsArgs { adhoc, cert, http_and_https, .. } = self;
        [(*adhoc, "--adhoc"), (cert.is_some(), "--cert"), (*http_and_https, "--http-and-https")]
    }

    /// What was asked for, if anything was.
    pub(super) fn context(&self, addresses: &[Address]) -> Result<Option<SslContext>, String> {
        let context = match &self.cert {
            Some(cert) => SslContext::from_files(cert, self.key.as_deref()),
            None if self.adhoc => {
                // The names under which the server will be asked for; wildcards have none.
                let hosts: Vec<&str> = addresses.iter().filter_map(host).collect();
                SslContext::adhoc_for(&hosts)
            }
            None if self.http_and_https => {
                return Err("--http-and-https needs a certificate: add --adhoc, or --cert FILE".into());
            }
            None => return Ok(None),
        };
        let plain = if self.http_and_https { PlainHttpPolicy::Serve } else { PlainHttpPolicy::Redirect };
        context.map(|context| Some(context.plain_http(plain))).map_err(|error| error.to_string())
    }
}

fn host(address: &Address) -> Option<&str> {
    match address {
        Address::Tcp { host, .. } if !matches!(host.as_str(), "" | "*" | "0.0.0.0" | "::") => Some(host),
        _ => None,
    }
}

#[derive(Args, Debug)]
pub(super) struct Devcert {
    /// Names and addresses the certificate is for [default: localhost, *.localhost, 127.0.0.1, ::1]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,

    /// Where to write: BASE.crt and BASE.key
    #[arg(short, long, value_name = "BASE", default_value = "devcert")]
    output: PathBuf,
}

impl Devcert {
    /// # Errors
    /// What can't be made, and what to do.
    pub(super) fn run(&self) -> Result<(), String> {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        let made = LocalCa::open().and_then(|ca| ca.issue(&hosts, &self.output).map(|pair| (ca, pair)));
        let (ca, (certificate, key)) = made.map_err(|error| error.to_string())?;
        println!("{} and {} are ready:\n", certificate.display(), key.display());
        println!("  amboss --cert {} --key {}\n", certificate.display(), key.display());
        if ca.is_new() {
            println!("The authority behind them was made just now; nothing trusts it yet.");
        }
        print!("{}", ca.how_to_trust());
        Ok(())
    }
}
