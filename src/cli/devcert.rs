//! `amboss devcert`: creates a certificate for development, signed by this machine's own certificate authority.

use std::path::PathBuf;

use clap::Args;

use crate::LocalCa;

/// The arguments of `amboss devcert`.
#[derive(Args, Debug)]
pub(super) struct Devcert {
    /// Names and addresses that the certificate is for [default: localhost, *.localhost, 127.0.0.1, ::1]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,

    /// Path of the files without their suffix: BASE.crt and BASE.key
    #[arg(short, long, value_name = "BASE", default_value = "devcert")]
    output: PathBuf,
}

impl Devcert {
    /// Writes the certificate and its key, and prints how to use them.
    ///
    /// # Errors
    /// A message: what can't be created, and what to do.
    pub(super) fn run(&self) -> Result<(), String> {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        let created = LocalCa::open().and_then(|ca| ca.issue(&hosts, &self.output).map(|pair| (ca, pair)));
        let (ca, (certificate, key)) = created.map_err(|error| error.to_string())?;
        println!("{} and {} are ready:\n", certificate.display(), key.display());
        println!("  amboss --cert {} --key {}\n", certificate.display(), key.display());
        if ca.is_new() {
            println!("The certificate authority that signed them is new; nothing trusts it yet.");
        }
        print!("{}", ca.how_to_trust());
        Ok(())
    }
}
