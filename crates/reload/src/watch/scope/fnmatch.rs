//! Python's `fnmatch`: `*` matches any text, `?` any character, `[abc]`, `[a-z]` and `[!abc]` one character of a set.
//! Each of them also matches `/`. No pattern is malformed: a `[` that is never closed matches itself.
//!
//! Written here because `globset` cannot be switched to these rules. It always expands `{a,b}`, reads `[^a]` as a
//! negation, lets `**/` match nothing, and compiles to byte expressions, in which neither `?` nor `[ö]` matches the two
//! bytes of an `ö`.

/// Whether the pattern matches the whole text.
pub(super) fn fnmatch(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the end of the text that it matches; extended by one when the rest fails.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = pattern.get(p..).and_then(|rest| match_one(rest, text[t])) {
            p += length;
            t += 1;
        } else if let Some((at, end)) = star {
            star = Some((at, end + 1));
            p = at + 1;
            t = end + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// The length of the first element of the pattern, if that element matches the character.
fn match_one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => match parse_set(pattern) {
            Some((members, length)) => set_contains(members, c).then_some(length),
            None => (c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

/// The members of a bracketed set, and its length including the brackets. A `]` in the first place is a member.
fn parse_set(pattern: &[char]) -> Option<(&[char], usize)> {
    let first = if pattern.get(1) == Some(&'!') { 2 } else { 1 };
    let close = pattern.iter().skip(first + 1).position(|&c| c == ']')? + first + 1;
    Some((&pattern[1..close], close + 1))
}

fn set_contains(members: &[char], c: char) -> bool {
    let (members, wanted) = match members {
        ['!', rest @ ..] => (rest, false),
        _ => (members, true),
    };
    let mut rest = members;
    let mut found = false;
    while let Some(&low) = rest.first() {
        rest = match rest {
            [_, '-', high, after @ ..] => {
                found |= (low..=*high).contains(&c);
                after
            }
            _ => {
                found |= low == c;
                &rest[1..]
            }
        };
    }
    found == wanted
}

#[cfg(test)]
mod tests {
    use super::fnmatch;

    #[test]
    fn patterns_match_as_in_pythons_fnmatch() {
        let cases = [
            ("*.log", "/a/b/c.log", true),
            ("*/static/*", "/a/static/b/c.js", true),
            ("*/static/*", "/a/static", false),
            ("static/*", "/a/static/b", false),
            ("/a/?.py", "/a/b.py", true),
            ("/a?b", "/a/b", true),
            ("/a/?.py", "/a/bc.py", false),
            ("/a/[bc].py", "/a/c.py", true),
            ("/a/[!bc].py", "/a/c.py", false),
            ("/a/[!bc].py", "/a/d.py", true),
            ("/a/[a-c]x", "/a/bx", true),
            ("/a/[a-c]x", "/a/dx", false),
            ("/a/[]]x", "/a/]x", true),
            ("/a/[!]]x", "/a/]x", false),
            ("/a/[a-]x", "/a/-x", true),
            ("/a/[x", "/a/[x", true),
            ("/a/[x", "/a/x", false),
            ("*ä?", "/a/äö", true),
            ("*a*b*c", "/xaxbxbxc", true),
            ("*a*b*c", "/xaxcxb", false),
            ("", "", true),
            ("**", "", true),
            ("", "a", false),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(fnmatch(pattern, text), matches, "{pattern} and {text}");
        }
    }
}
