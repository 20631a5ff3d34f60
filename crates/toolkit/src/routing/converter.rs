//! Converters: the values that an argument of a rule accepts.

use std::fmt;

use super::error::{RouteError, RouteErrorKind};

/// The values that an argument accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Converter {
    /// Text without `/`, with a number of characters in this range.
    Text { min: usize, max: usize },
    /// Digits, with a value in this range.
    Int { min: i64, max: i64 },
    /// A UUID in its text form (RFC 9562 §4).
    Uuid,
    /// One of these texts.
    AnyOf(Vec<String>),
    /// Text that may contain `/`, but does not begin with it.
    Path,
}

impl Converter {
    /// The converter of an argument that names none.
    pub(super) const DEFAULT: Converter = Converter::Text { min: 1, max: usize::MAX };

    /// Reads `int` or `int(min=1)`. The rule is for the message.
    pub(super) fn parse(text: &str, rule: &str) -> Result<Converter, RouteError> {
        let (name, options) = match text.split_once('(') {
            Some((name, rest)) => {
                let options = rest.strip_suffix(')').ok_or_else(|| {
                    let message = format!("the converter {text:?} in {rule:?} has no closing parenthesis: add one");
                    RouteError::new(RouteErrorKind::MalformedRule, message)
                })?;
                (name, options)
            }
            None => (text, ""),
        };
        let options = Options { name, rule, list: options };
        match name {
            "default" | "string" => {
                let [min, max, length] = options.numbers(["minlength", "maxlength", "length"])?;
                let (min, max) = (length.or(min).unwrap_or(1), length.or(max).unwrap_or(usize::MAX));
                options.check(min >= 1 && min <= max, "the lengths leave no possible value")?;
                Ok(Converter::Text { min, max })
            }
            "int" => {
                let [min, max] = options.numbers(["min", "max"])?;
                let (min, max) = (min.unwrap_or(0), max.unwrap_or(i64::MAX));
                options.check(min >= 0 && min <= max, "the range leaves no possible value")?;
                Ok(Converter::Int { min, max })
            }
            "any" => {
                // Werkzeug's rules have quotes around values that are no identifiers.
                let unquoted = |item: &str| match item.as_bytes() {
                    [quote @ (b'\'' | b'"'), .., last] if quote == last => item[1..item.len() - 1].to_owned(),
                    _ => item.to_owned(),
                };
                let items: Vec<String> = options.list.split(',').map(|item| unquoted(item.trim())).collect();
                options.check(items.iter().all(|item| !item.is_empty()), "write the values as any(de,en)")?;
                Ok(Converter::AnyOf(items))
            }
            "uuid" | "path" => {
                let [] = options.numbers::<i64, 0>([])?;
                Ok(if name == "uuid" { Converter::Uuid } else { Converter::Path })
            }
            _ => {
                let message = format!("{rule:?} names the converter {name:?}: use string, int, uuid, any or path");
                Err(RouteError::new(RouteErrorKind::UnknownConverter, message))
            }
        }
    }

    /// Whether the argument accepts the value. The caller makes sure that the value contains `/` for `path` only.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match self {
            &Converter::DEFAULT => !value.is_empty(),
            Converter::Text { min, max } => (*min..=*max).contains(&value.chars().count()),
            // `parse` alone would accept a sign.
            Converter::Int { min, max } => {
                value.bytes().all(|byte| byte.is_ascii_digit())
                    && value.parse().is_ok_and(|number| (*min..=*max).contains(&number))
            }
            Converter::Uuid => is_uuid(value),
            Converter::AnyOf(items) => items.iter().any(|item| item == value),
            // The second slash would begin an authority in a redirect to a path that begins with this value.
            Converter::Path => !value.is_empty() && !value.starts_with('/'),
        }
    }

    /// The place of the converter among others at the same position: the lowest is tried first.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Converter::Int { .. } | Converter::Uuid | Converter::AnyOf(_) => 0,
            Converter::Text { .. } => 1,
            Converter::Path => 2,
        }
    }
}

impl fmt::Display for Converter {
    /// Says in a message which values the converter accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &Converter::DEFAULT => f.write_str("text without \"/\""),
            Converter::Text { min, max } if *max == usize::MAX => {
                write!(f, "at least {min} characters without \"/\"")
            }
            Converter::Text { min, max } => write!(f, "{min} to {max} characters without \"/\""),
            Converter::Int { min, max } => write!(f, "digits, a number from {min} to {max}"),
            Converter::Uuid => f.write_str("a UUID"),
            Converter::AnyOf(items) => write!(f, "one of {}", items.join(", ")),
            Converter::Path => f.write_str("a path that does not begin with \"/\""),
        }
    }
}

/// The options in the parentheses of a converter.
struct Options<'a> {
    name: &'a str,
    rule: &'a str,
    list: &'a str,
}

impl Options<'_> {
    /// The values of `name=number` options.
    fn numbers<T: std::str::FromStr, const N: usize>(&self, names: [&str; N]) -> Result<[Option<T>; N], RouteError> {
        let mut values = [const { None }; N];
        for option in self.list.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let Some(index) = names.iter().position(|known| *known == name.trim()) else {
                let known = if N == 0 { "none".to_owned() } else { names.join(", ") };
                let message = format!(
                    "the converter {:?} in {:?} has no option {option:?}: its options are {known}",
                    self.name, self.rule
                );
                return Err(RouteError::new(RouteErrorKind::UnknownConverter, message));
            };
            values[index] = value.trim().parse().ok();
            self.check(values[index].is_some(), &format!("write a number after {}=", names[index]))?;
        }
        Ok(values)
    }

    fn check(&self, holds: bool, advice: &str) -> Result<(), RouteError> {
        if holds {
            return Ok(());
        }
        let message =
            format!("the options ({}) of {:?} in {:?} are malformed: {advice}", self.list, self.name, self.rule);
        Err(RouteError::new(RouteErrorKind::MalformedRule, message))
    }
}

/// Whether the text is 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562 §4).
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_converter_accepts_its_values_only() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("string", &["a", "ä b", "."], &[""]),
            ("string(length=2)", &["ab", "äö"], &["a", "abc"]),
            ("string(minlength=2,maxlength=3)", &["ab", "abc"], &["a", "abcd"]),
            ("int", &["0", "007", "9223372036854775807"], &["", "-1", "+1", "1.0", "9223372036854775808", "٣"]),
            ("int(min=1, max=99)", &["1", "99", "0099"], &["0", "100"]),
            ("uuid", &["00000000-0000-4000-8000-00000000000f"], &["0000000000004000800000000000000f", ""]),
            ("any(de, en)", &["de", "en"], &["d", "", "deen", "DE"]),
            ("any('de', \"en-us\")", &["de", "en-us"], &["'de'", "\"en-us\""]),
            ("path", &["a", "a/b", "a//b", "a/"], &["", "/a"]),
        ];
        for (text, accepted, refused) in table {
            let converter = Converter::parse(text, "/").unwrap();
            for value in *accepted {
                assert!(converter.accepts(value), "{text} accepts {value:?}");
            }
            for value in *refused {
                assert!(!converter.accepts(value), "{text} refuses {value:?}");
            }
        }
    }

    #[test]
    fn a_malformed_converter_is_an_error() {
        use RouteErrorKind::{MalformedRule, UnknownConverter};
        for (text, kind) in [
            ("float", UnknownConverter),
            ("", UnknownConverter),
            ("int(", MalformedRule),
            ("int(min=a)", MalformedRule),
            ("int(min=5,max=4)", MalformedRule),
            ("int(signed=True)", UnknownConverter),
            ("string(length=0)", MalformedRule),
            ("uuid(4)", UnknownConverter),
            ("any()", MalformedRule),
            ("any", MalformedRule),
        ] {
            assert_eq!(Converter::parse(text, "/").unwrap_err().kind(), kind, "{text}");
        }
    }
}
