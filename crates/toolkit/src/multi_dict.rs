//! [`MultiDict`].

/// An ordered list of pairs of text, in which a key may occur more than once: the fields of a form, or the arguments of a
/// query. Keys are compared with regard to case.
///
/// ```
/// use amboss_toolkit::MultiDict;
/// let args = MultiDict::from_urlencoded(b"tag=a&tag=b%20c&page=2");
/// assert_eq!(args.get("tag"), Some("a"));
/// assert_eq!(args.get_all("tag").collect::<Vec<_>>(), ["a", "b c"]);
/// assert_eq!(args.get("page").and_then(|page| page.parse().ok()), Some(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiDict(Vec<(String, String)>);

impl MultiDict {
    /// Decodes `application/x-www-form-urlencoded` bytes, such as a query: `&` separates pairs, `+` is a space, `%XX` is
    /// a byte ([URL Standard §5.1](https://url.spec.whatwg.org/#urlencoded-parsing)). Bytes that are not UTF-8 are
    /// replaced with U+FFFD.
    pub fn from_urlencoded(bytes: &[u8]) -> MultiDict {
        form_urlencoded::parse(bytes).collect()
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key).next()
    }

    /// All values of a key, in order.
    pub fn get_all<'d, 'k>(&'d self, key: &'k str) -> impl Iterator<Item = &'d str> + use<'d, 'k> {
        self.iter().filter(move |(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Whether there is a value for this key.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Appends a pair, in addition to those with the same key.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into(), value.into()));
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for MultiDict {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> MultiDict {
        MultiDict(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for MultiDict {
    fn from(pairs: [(K, V); N]) -> MultiDict {
        pairs.into_iter().collect()
    }
}

impl<'d> IntoIterator for &'d MultiDict {
    type Item = (&'d str, &'d str);
    type IntoIter = Box<dyn Iterator<Item = (&'d str, &'d str)> + 'd>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl IntoIterator for MultiDict {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_repeated_keys() {
        let mut dict = MultiDict::from([("b", "1"), ("a", "2"), ("b", "3")]);
        for (key, value) in &dict {
            assert!(dict.get_all(key).any(|known| known == value));
        }
        dict.add("A", "4");
        assert_eq!((dict.get("b"), dict.get("a"), dict.get("c")), (Some("1"), Some("2"), None));
        assert_eq!(dict.get_all("b").collect::<Vec<_>>(), ["1", "3"]);
        assert!(dict.contains("A") && !dict.contains("B") && dict.len() == 4 && !dict.is_empty());
        let keys: Vec<String> = dict.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["b", "a", "b", "A"]);
    }

    /// Encoded bytes, and the pairs that they mean.
    type Case<'a> = (&'a [u8], &'a [(&'a str, &'a str)]);

    #[test]
    fn urlencoded_bytes_are_decoded() {
        let cases: &[Case<'_>] = &[
            (b"", &[]),
            (b"&&", &[]),
            (b"a", &[("a", "")]),
            (b"=b", &[("", "b")]),
            (b"a=b=c", &[("a", "b=c")]),
            (b"a+b=c%2Bd", &[("a b", "c+d")]),
            (b"a=%e4%ff", &[("a", "\u{fffd}\u{fffd}")]),
            (b"a=%C3%A4&a=\xc3\xa4", &[("a", "\u{e4}"), ("a", "\u{e4}")]),
            (b"a=%&b=%4&c=%zz", &[("a", "%"), ("b", "%4"), ("c", "%zz")]),
            (b"a=1;b=2", &[("a", "1;b=2")]),
        ];
        for (bytes, pairs) in cases {
            assert_eq!(MultiDict::from_urlencoded(bytes).iter().collect::<Vec<_>>(), *pairs, "{bytes:?}");
        }
    }
}
