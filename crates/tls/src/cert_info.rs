//! The fields of a certificate that this crate needs: its expiry, its public key and its subject alternative names.
//!
//! The certificate (RFC 5280 §4.1) is read with yasna, which rcgen depends on already. The alternatives are worse here:
//!
//! - rustls-webpki refuses X.509 v1 certificates, which OpenSSL 3.0 issues without an extension file, so that a key
//!   mismatch or the expiry of such a certificate would go unnoticed; and it does not list IP addresses.
//! - x509-parser reads every certificate, but adds more than twenty crates, some of them procedural macros.

use std::net::IpAddr;

use yasna::tags::TAG_UTCTIME;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

use crate::host::Host;

/// The contents of id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The tag of a certificate's extensions (RFC 5280 §4.1).
const EXTENSIONS: u64 = 3;
/// The tags of `dNSName` and `iPAddress` in a GeneralName (RFC 5280 §4.2.1.6).
const DNS_NAME: u64 = 2;
const IP_ADDRESS: u64 = 7;

/// Fields of a certificate.
#[derive(Debug)]
pub(crate) struct CertInfo {
    /// The last second of its validity, in Unix seconds.
    pub(crate) not_after: i64,
    /// The public key, as a DER SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// The DNS names and IP addresses among its subject alternative names.
    pub(crate) hosts: Vec<Host>,
}

impl CertInfo {
    /// Reads a DER certificate. `None` when it is not understood: callers then go on without the checks that need it.
    pub(crate) fn parse(certificate: &[u8]) -> Option<CertInfo> {
        yasna::parse_der(certificate, |reader| {
            reader.read_sequence(|certificate| {
                let info = certificate.next().read_sequence(|body| {
                    body.read_optional(|tagged| tagged.read_tagged(Tag::context(0), |version| version.read_der()))?;
                    body.next().read_der()?; // serial number
                    body.next().read_der()?; // signature algorithm
                    body.next().read_der()?; // issuer
                    let not_after = body.next().read_sequence(|validity| {
                        validity.next().read_der()?; // not before
                        unix_seconds(validity.next())
                    })?;
                    body.next().read_der()?; // subject
                    let public_key = body.next().read_der()?;
                    let mut hosts = Vec::new();
                    while let Some(field) = body.read_optional(|field| field.read_tagged_der())? {
                        if field.tag() == Tag::context(EXTENSIONS) {
                            hosts = subject_alt_names(field.value()).unwrap_or_default();
                        }
                    }
                    Ok(CertInfo { not_after, public_key, hosts })
                })?;
                certificate.next().read_der()?; // signature algorithm
                certificate.next().read_der()?; // signature
                Ok(info)
            })
        })
        .ok()
    }
}

fn subject_alt_names(extensions: &[u8]) -> ASN1Result<Vec<Host>> {
    let mut hosts = Vec::new();
    yasna::parse_der(extensions, |reader| {
        reader.read_sequence_of(|extension| {
            extension.read_sequence(|extension| {
                let id = extension.next().read_tagged_der()?;
                extension.read_optional(|critical| critical.read_bool())?;
                let value = extension.next().read_bytes()?;
                if id.value() == SUBJECT_ALT_NAME {
                    yasna::parse_der(&value, |names| names.read_sequence_of(|name| read_host(name, &mut hosts)))?;
                }
                Ok(())
            })
        })
    })?;
    Ok(hosts)
}

/// Reads a GeneralName and adds it to `hosts` if it is a DNS name or an IP address.
fn read_host(name: BERReader<'_, '_>, hosts: &mut Vec<Host>) -> ASN1Result<()> {
    let name = name.read_tagged_der()?;
    let invalid = || ASN1Error::new(ASN1ErrorKind::Invalid);
    if name.tag() == Tag::context(DNS_NAME) {
        hosts.push(Host::Name(String::from_utf8(name.value().to_vec()).map_err(|_| invalid())?));
    } else if name.tag() == Tag::context(IP_ADDRESS) {
        let v4 = <[u8; 4]>::try_from(name.value()).map(IpAddr::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(name.value()).map(IpAddr::from));
        hosts.push(Host::Ip(address.map_err(|_| invalid())?));
    }
    Ok(())
}

/// Reads a Time, which is a UTCTime or a GeneralizedTime (RFC 5280 §4.1.2.5).
fn unix_seconds(time: BERReader<'_, '_>) -> ASN1Result<i64> {
    Ok(match time.lookahead_tag()? {
        TAG_UTCTIME => time.read_utctime()?.datetime().unix_timestamp(),
        _ => time.read_generalized_time()?.datetime().unix_timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::CertificateDer;

    #[test]
    fn times_of_both_kinds_are_read() {
        const UTC_TIME: u8 = 0x17;
        const GENERALIZED_TIME: u8 = 0x18;
        const INTEGER: u8 = 0x02;
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "941106084937Z", Some(784_111_777)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "9411", None),
            (UTC_TIME, "941306084937Z", None),
            (INTEGER, "941106084937Z", None),
        ] {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            assert_eq!(yasna::parse_der(&der, unix_seconds).ok(), expected, "{text}");
        }
    }

    #[test]
    fn truncated_and_corrupted_certificates_do_not_panic() {
        let hosts = [Host::Name("a.test".into()), Host::Ip([1, 2, 3, 4].into()), Host::Ip([1; 16].into())];
        let pem = crate::generate::self_signed("a", &hosts).unwrap().certificate;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        assert_eq!(CertInfo::parse(&der).unwrap().hosts, hosts);
        for length in 0..der.len() {
            assert!(CertInfo::parse(&der[..length]).is_none());
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut corrupted = der.to_vec();
                corrupted[at] = byte;
                let _ = CertInfo::parse(&corrupted);
            }
        }
    }
}
