//! Lines of limited width.

/// Breaks a text at spaces into lines of at most `width` characters; a longer word has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_spaces_and_are_not_longer_than_the_width() {
        assert_eq!(wrap("", 5), [""; 0]);
        assert_eq!(wrap(" a bc  def ghijkl m", 5), ["a bc", "def", "ghijkl", "m"]);
        assert_eq!(wrap("ää öö", 5), ["ää öö"]);
    }
}
