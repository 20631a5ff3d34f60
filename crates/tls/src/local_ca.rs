//! A certificate authority of the user's own: once it is trusted, every development certificate that it issues is.
//!
//! It is created once and stored in the user's data folder. This crate installs nothing: who trusts the authority is
//! the user's decision, and [`how_to_trust`](LocalCa::how_to_trust) explains how.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::PrivateKeyDer;

use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::generate::{self, generation_error};
use crate::host::{merge, Host};
use crate::load::{self, PemFile};

/// The file with the certificate and the key, which only this user can read. Both are in one file that is created
/// atomically, so that they always belong together.
const PAIR_FILE: &str = "ca.pem";
/// The file with the certificate alone, to be installed where the authority is to be trusted.
const CERTIFICATE_FILE: &str = "amboss-ca.crt";
/// How long the authority is valid, in days: ten years, because establishing trust takes effort.
const VALIDITY_DAYS: u64 = 3650;
const ORGANISATION: &str = "amboss local CA";

/// A certificate authority of the user's own, which issues certificates for development.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("amboss-ca-doc-{}", std::process::id()));
/// let ca = amboss_tls::LocalCa::open_in(&folder)?;
/// let (certificate, key) = ca.issue(&["myproject.test", "192.0.2.1"], folder.join("myproject"))?;
/// println!("{}", ca.how_to_trust());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalCa {
    certificate_path: PathBuf,
    certificate: String,
    key: KeyPair,
    is_new: bool,
}

impl LocalCa {
    /// Opens the authority in the user's data folder, or creates it there: `$XDG_DATA_HOME/amboss` or
    /// `~/.local/share/amboss`, on macOS `~/Library/Application Support/amboss`, on Windows `%LOCALAPPDATA%\amboss`.
    ///
    /// # Errors
    /// When there is no such folder, it cannot be written to, or the stored authority is damaged or has expired.
    pub fn open() -> Result<LocalCa, SslError> {
        let folder = files::data_folder().ok_or_else(|| {
            let message = "there is no home directory to store an authority in; set HOME or XDG_DATA_HOME";
            SslError::new(SslErrorKind::Unwritable, message)
        })?;
        LocalCa::open_in(folder)
    }

    /// Opens the authority in this folder, or creates it there. Creates the folder if necessary.
    ///
    /// # Errors
    /// As for [`open`](LocalCa::open).
    pub fn open_in(folder: impl AsRef<Path>) -> Result<LocalCa, SslError> {
        let folder = folder.as_ref();
        files::create_private_folder(folder).map_err(|error| SslError::unwritable(folder, &error))?;
        let path = folder.join(PAIR_FILE);
        let is_new = !path.exists() && {
            let content = generate_authority()?;
            // If another process creates an authority at the same time, the first one wins and both use it.
            files::create_once(&path, content.as_bytes(), true).map_err(|error| SslError::unwritable(&path, &error))?
        };
        let (certificate, key) = load_authority(&path)?;
        let certificate_path = folder.join(CERTIFICATE_FILE);
        if std::fs::read(&certificate_path).ok().as_deref() != Some(certificate.as_bytes()) {
            files::replace(&certificate_path, certificate.as_bytes(), false)
                .map_err(|error| SslError::unwritable(&certificate_path, &error))?;
        }
        Ok(LocalCa { certificate_path, certificate, key, is_new })
    }

    /// Whether this call created the authority, which nothing trusts yet.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The path of the authority's certificate (PEM), which is not secret.
    pub fn certificate(&self) -> &Path {
        &self.certificate_path
    }

    /// Issues a certificate for these hosts, valid for a year. Writes it, followed by the authority's certificate, to
    /// `base.crt`, and its key to `base.key`, which only this user can read. Replaces existing files. Returns the two
    /// paths. Without hosts, the certificate is for localhost, `*.localhost`, 127.0.0.1 and ::1.
    ///
    /// # Errors
    /// When a certificate cannot contain a host, or a file cannot be written.
    pub fn issue(&self, hosts: &[&str], base: impl AsRef<Path>) -> Result<(PathBuf, PathBuf), SslError> {
        let mut names = Vec::new();
        merge(&mut names, Host::parse_all(hosts)?);
        if names.is_empty() {
            names = Host::loopback();
        }
        let common_name = hosts.first().copied().unwrap_or("localhost");
        let key = KeyPair::generate().map_err(generation_error)?;
        let issuer = Issuer::new(authority_params(&self.key)?, &self.key);
        let params = generate::server_params(common_name, &names)?;
        let certificate = params.signed_by(&key, &issuer).map_err(generation_error)?;
        let chain = [certificate.pem(), self.certificate.clone()].concat();
        generate::write_pair(base.as_ref(), &chain, &key.serialize_pem())
    }

    /// Explains in plain text how to make operating systems, browsers and programs trust this authority.
    pub fn how_to_trust(&self) -> String {
        let path = self.certificate_path.display();
        format!(
            "\
To trust certificates from this authority, install {path} once.
Anyone who can read the key next to it can issue certificates that you will trust: keep the folder private.

Linux, the whole system:
  Debian, Ubuntu:  sudo cp {path} /usr/local/share/ca-certificates/ && sudo update-ca-certificates
  Fedora, RHEL:    sudo cp {path} /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
  Arch:            sudo trust anchor --store {path}
Linux, Chrome and Chromium (certutil is in libnss3-tools or nss-tools):
  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n 'amboss local CA' -i {path}
macOS (Safari, Chrome, curl):
  security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {path}
Windows (Edge, Chrome):
  certutil -addstore -user Root {path}
Firefox, on every system:
  Settings > Privacy & Security > View Certificates > Authorities > Import, and tick \"identify websites\"
A single program:
  curl --cacert {path}    SSL_CERT_FILE={path} (Python, Ruby, Go)    NODE_EXTRA_CA_CERTS={path} (Node)
"
        )
    }
}

impl std::fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCa").field("certificate", &self.certificate_path).finish_non_exhaustive()
    }
}

/// Generates an authority: its certificate and its key, both in PEM.
fn generate_authority() -> Result<String, SslError> {
    let key = KeyPair::generate().map_err(generation_error)?;
    let certificate = authority_params(&key)?.self_signed(&key).map_err(generation_error)?;
    Ok([certificate.pem(), key.serialize_pem()].concat())
}

/// The contents of the authority's certificate. Its name is derived from its key: it is the same whenever a certificate
/// is issued, and differs between two authorities on one machine.
fn authority_params(key: &KeyPair) -> Result<CertificateParams, SslError> {
    let mut params = generate::params_valid_for(VALIDITY_DAYS);
    let id: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = generate::distinguished_name(ORGANISATION, &format!("{ORGANISATION} {id}"));
    // A path length of 0: it issues certificates for servers, not for further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Loads the authority's certificate (PEM) and its key.
fn load_authority(path: &Path) -> Result<(String, KeyPair), SslError> {
    let content = load::read_file(path)?;
    let file = PemFile { path, content: &content };
    // Checks that the key belongs to the certificate, and that the certificate has not expired.
    let certified_key = load::parse_certified_key(file, file)?;
    let key = PrivateKeyDer::from_pem_slice(&content).ok().and_then(|key| KeyPair::try_from(&key).ok());
    match (certified_key.cert.first(), key) {
        (Some(certificate), Some(key)) => Ok((load::to_pem(certificate), key)),
        _ => {
            let message = format!(
                "{} was changed since it was created; delete it to create a new authority, and trust that one",
                path.display()
            );
            Err(SslError::new(SslErrorKind::Malformed, message))
        }
    }
}
