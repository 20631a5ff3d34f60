//! Patterns as Python's `fnmatch` reads them: `*` is any text, `?` any character, `[abc]`, `[a-z]` and `[!abc]` one
//! character of a set. None of them stops at a `/`. There is no malformed pattern: a `[` that is never closed is itself.

/// Whether the whole text matches.
pub(crate) fn fnmatch(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stands and what it has taken so far; it takes one more when the rest doesn't fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = pattern.get(p..).and_then(|rest| one(rest, text[t])) {
            p += length;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How much of the pattern the character satisfies.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern) {
            Some((members, length)) => contains(members, c).then_some(length),
            None => (c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

/// The inside of a bracketed set, and its length with brackets. A `]` in the first place is a member.
fn set(pattern: &[char]) -> Option<(&[char], usize)> {
    let first = if pattern.get(1) == Some(&'!') { 2 } else { 1 };
    let close = pattern.iter().skip(first + 1).position(|&c| c == ']')? + first + 1;
    Some((&pattern[1..close], close + 1))
}

fn contains(members: &[char], c: char) -> bool {
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
    fn patterns_mean_what_pythons_fnmatch_says() {
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
