//! Which certificate of a server a client gets for the name that it asks for (RFC 6066 §3).
//!
//! The rules are those of nginx, except that a wildcard stands for one label, as clients verify it (RFC 9525 §6.3):
//!
//! 1. A certificate with exactly this name.
//! 2. A certificate with a wildcard for the name's first label.
//! 3. The default certificate, also for a client that sends no name.
//!
//! If several certificates have the same name, the first one is used.
//!
//! rustls has `ResolvesServerCertUsingSni`, which knows neither wildcards nor a default, and refuses X.509 v1
//! certificates.

use std::collections::hash_map::{Entry, HashMap};

/// The positions of certificates in the server's list, by name. Names are in lowercase.
#[derive(Default)]
pub(crate) struct CertNames {
    exact: HashMap<String, usize>,
    /// The keys are the names without `*.`.
    wildcards: HashMap<String, usize>,
}

impl CertNames {
    /// Adds the names of a certificate. Returns whether it is used for one of them; false when earlier certificates
    /// have all of them.
    pub(crate) fn add(&mut self, names: &[String], position: usize) -> bool {
        let mut is_used = false;
        for name in names {
            let name = name.to_ascii_lowercase();
            let entry = match name.strip_prefix("*.") {
                Some(parent) => self.wildcards.entry(parent.to_owned()),
                None => self.exact.entry(name),
            };
            if let Entry::Vacant(entry) = entry {
                entry.insert(position);
                is_used = true;
            }
        }
        is_used
    }

    /// Returns the position of the certificate for a name in lowercase. Does not allocate.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        // RFC 6066 §3 excludes a final dot. Clients that are given a URL with one send it nevertheless.
        let name = name.strip_suffix('.').unwrap_or(name);
        let exact = self.exact.get(name);
        exact.or_else(|| self.wildcards.get(name.split_once('.')?.1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(certificates: &[&[&str]]) -> (CertNames, Vec<bool>) {
        let mut names = CertNames::default();
        let used = certificates.iter().enumerate().map(|(position, texts)| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            names.add(&texts, position)
        });
        let used = used.collect();
        (names, used)
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_for_one_label_and_the_first_certificate_wins() {
        let (names, used) = names_of(&[
            &[],
            &["*.a.test", "a.test"],
            &["Shop.A.test", "*.B.TEST"],
            &["shop.a.test", "*.a.test"],
            &["*", "*.*.c.test", "w*.c.test", "*.", ""],
            &["a.test", "single"],
        ]);
        assert_eq!(used[..4], [false, true, true, false]);
        for (name, expected) in [
            ("a.test", Some(1)),
            ("www.a.test", Some(1)),
            ("www.a.test.", Some(1)),
            ("shop.a.test", Some(2)),
            ("x.shop.a.test", None),
            ("a.b.test", Some(2)),
            ("b.test", None),
            ("ab.test", None),
            ("x.y.b.test", None),
            ("a.test.other", None),
            ("single", Some(5)),
            ("x.single", None),
            ("test", None),
            ("c.test", None),
            ("w.c.test", None),
            ("x.y.c.test", None),
        ] {
            assert_eq!(names.position(name), expected, "{name}");
        }
    }
}
