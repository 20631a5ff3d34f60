//! The section `[uwsgi]` of a file of uWSGI.

/// Returns the options of the section, in their order. `%d`, `%p` and the like stay as they are; `%(name)` is replaced by
/// the option `name` above it, and `$(NAME)` by the environment variable.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_inside = line.trim_matches(['[', ']']).split(':').next() == Some("uwsgi");
            continue;
        }
        if !is_inside || line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, "true"));
        let value = substitute(value.trim(), &options);
        options.push((name.trim().to_owned(), value));
    }
    options
}

fn substitute(value: &str, options: &[(String, String)]) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("%(").or_else(|| rest.find("$(")) {
        let Some(length) = rest[start..].find(')') else { break };
        let name = &rest[start + 2..start + length];
        let replacement = if rest[start..].starts_with('%') {
            options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        } else {
            std::env::var(name).ok()
        };
        result.push_str(&rest[..start]);
        result.push_str(&replacement.unwrap_or_else(|| rest[start..=start + length].to_owned()));
        rest = &rest[start + length + 1..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_with_its_placeholders() {
        let text = "[other]\nmodule = no\n[uwsgi]\n; comment\nbase = /srv\nchdir=%(base)/app\nmaster\n# x\nx = %(y) $(NO_VAR_)\n";
        let expected = [("base", "/srv"), ("chdir", "/srv/app"), ("master", "true"), ("x", "%(y) $(NO_VAR_)")];
        assert_eq!(parse(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
