//! An authority of this user's own: trusted once, it vouches for any number of certificates for developing.
//!
//! It is made once and kept in the user's data folder. Nothing is ever installed here: who is to trust it is the user's
//! decision, and [`how_to_trust`](LocalCa::how_to_trust) says how.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::PrivateKeyDer;

use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::host::{merge, Host};
use crate::make;
use crate::read;
use crate::session::to_pem;

/// Certificate and key together, for this user's eyes only: made at once, they always fit.
const PAIR: &str = "ca.pem";
/// The certificate alone, to be given to those who are to trust it.
const CERTIFICATE: &str = "amboss-ca.crt";
/// How long the authority lasts: ten years, as being trusted is work.
const DAYS: u64 = 3650;
const ORGANISATION: &str = "amboss local CA";

/// A certificate authority of this user's own.
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
    /// The authority in the user's data folder (`$XDG_DATA_HOME/amboss` or `~/.local/share/amboss`, on macOS
    /// `~/Library/Application Support/amboss`, on Windows `%LOCALAPPDATA%\amboss`); made if there is none.
    ///
    /// # Errors
    /// When there is no such folder, it can't be written to, or what is there is damaged or has expired.
    pub fn open() -> Result<LocalCa, SslError> {
        let folder = files::data_folder().ok_or_else(|| {
            let sentence = "there is no home folder to keep an authority in; set HOME or XDG_DATA_HOME";
            SslError::new(SslErrorKind::Unwritable, sentence)
        })?;
        LocalCa::open_in(folder)
    }

    /// The authority in this folder; made, with the folder, if there is none.
    ///
    /// # Errors
    /// As [`open`](LocalCa::open).
    pub fn open_in(folder: impl AsRef<Path>) -> Result<LocalCa, SslError> {
        let folder = folder.as_ref();
        files::make_private_folder(folder).map_err(|error| SslError::unwritable(folder, &error))?;
        let path = folder.join(PAIR);
        let is_new = !path.exists() && {
            let (certificate, key) = make_authority()?;
            let text = [certificate, key].concat();
            // Of two who make one at the same time, the first has made it.
            files::create_once(&path, text.as_bytes(), true).map_err(|error| SslError::unwritable(&path, &error))?
        };
        let (certificate, key) = read_authority(&path)?;
        let certificate_path = folder.join(CERTIFICATE);
        if std::fs::read(&certificate_path).ok().as_deref() != Some(certificate.as_bytes()) {
            files::replace(&certificate_path, certificate.as_bytes(), false)
                .map_err(|error| SslError::unwritable(&certificate_path, &error))?;
        }
        Ok(LocalCa { certificate_path, certificate, key, is_new })
    }

    /// Was it made just now? Then nobody trusts it yet.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The file with the authority's certificate (PEM), which is no secret.
    pub fn certificate(&self) -> &Path {
        &self.certificate_path
    }

    /// Makes a certificate for these hosts, good for a year, and writes it to `base.crt`, with the authority's behind
    /// it, and its key to `base.key` (readable by this user only); returns the two paths. Without hosts it is for
    /// localhost, `*.localhost`, 127.0.0.1 and ::1. Files that are there are replaced.
    ///
    /// # Errors
    /// When a host can't stand in a certificate, or a file can't be written.
    pub fn issue(&self, hosts: &[&str], base: impl AsRef<Path>) -> Result<(PathBuf, PathBuf), SslError> {
        let mut names = Vec::new();
        merge(&mut names, Host::parse_all(hosts)?);
        if names.is_empty() {
            names = Host::loopback();
        }
        let common_name = hosts.first().copied().unwrap_or("localhost");
        let key = KeyPair::generate().map_err(make::failed)?;
        let params = authority(&self.key)?;
        let issuer = Issuer::new(params, &self.key);
        let certificate = make::leaf(common_name, &names)?.signed_by(&key, &issuer).map_err(make::failed)?;
        let chain = [certificate.pem(), self.certificate.clone()].concat();
        make::write_pair(base.as_ref(), &chain, &key.serialize_pem())
    }

    /// How to make systems and browsers trust this authority, in plain text.
    pub fn how_to_trust(&self) -> String {
        let path = self.certificate_path.display();
        format!(
            "\
To trust certificates from this authority, install {path} once.
Whoever can read the key beside it can make certificates you will trust: keep the folder to yourself.

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
Firefox, everywhere:
  Settings > Privacy & Security > View Certificates > Authorities > Import, and tick \"identify websites\"
One program:
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

fn make_authority() -> Result<(String, String), SslError> {
    let key = KeyPair::generate().map_err(make::failed)?;
    let certificate = authority(&key)?.self_signed(&key).map_err(make::failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// What the authority's certificate says. Its name comes from the key, so that it is the same whenever it is needed,
/// and no two authorities on a machine have the same.
fn authority(key: &KeyPair) -> Result<CertificateParams, SslError> {
    let mut params = make::lasting(DAYS);
    let id: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = make::distinguished_name(ORGANISATION, &format!("{ORGANISATION} {id}"));
    // It vouches for servers, not for further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn read_authority(path: &Path) -> Result<(String, KeyPair), SslError> {
    let text = read::read(path)?;
    // Checks that the two fit, and that its time is not over.
    let identity = read::identity_of((path, &text), (path, &text))?;
    let key = PrivateKeyDer::from_pem_slice(&text).ok().and_then(|key| KeyPair::try_from(&key).ok());
    match (identity.cert.first(), key) {
        (Some(certificate), Some(key)) => Ok((to_pem(certificate), key)),
        _ => {
            let sentence =
                format!("{} is not as it was made here; remove it, and have another made and trusted", path.display());
            Err(SslError::new(SslErrorKind::Malformed, sentence))
        }
    }
}
