//! [`secure_filename`].

use unicode_normalization::UnicodeNormalization;

/// Makes a file name that is safe to use in any folder on any system, from a name that a client sent (Werkzeug's
/// `secure_filename`).
///
/// The result consists of ASCII letters, digits, `_`, `-` and `.`. It has no path separators, neither begins nor ends
/// with a dot, and is not the name of a Windows device. It is empty if nothing is left of the name, so check for that.
/// Two names can give the same result; it may also be the name of an existing file.
///
/// ```
/// use amboss_toolkit::form::secure_filename;
/// assert_eq!(secure_filename("My cool movie.mov"), "My_cool_movie.mov");
/// assert_eq!(secure_filename("../../../etc/passwd"), "etc_passwd");
/// assert_eq!(secure_filename("münchen.txt"), "munchen.txt");
/// assert_eq!(secure_filename("日本"), "");
/// ```
pub fn secure_filename(filename: &str) -> String {
    // The decomposed form has an accent as a character of its own, after its letter.
    let ascii: String = filename.nfkd().filter_map(to_ascii).collect();
    // `.` and `..` as whole components of a path have no meaning in a name.
    let is_word = |word: &&str| word.bytes().any(|byte| byte != b'.');
    let words: Vec<&str> = ascii.split_ascii_whitespace().filter(is_word).collect();
    let allowed = |char: &char| char.is_ascii_alphanumeric() || "_.-".contains(*char);
    let name: String = words.join("_").chars().filter(allowed).collect();
    let name = name.trim_matches(['.', '_']);
    // On Windows, `nul.txt` is the device as well.
    let stem = name.split('.').next().unwrap_or_default();
    if is_device(stem) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

/// The ASCII character for a character, if there is one. Separators of all systems become spaces.
fn to_ascii(char: char) -> Option<char> {
    match char {
        '/' | '\\' => Some(' '),
        _ => char.is_ascii().then_some(char),
    }
}

fn is_device(stem: &str) -> bool {
    let upper = stem.to_ascii_uppercase();
    let numbered = |name: &str| matches!(upper.strip_prefix(name).map(str::as_bytes), Some([b'0'..=b'9']));
    ["CON", "PRN", "AUX", "NUL"].contains(&upper.as_str()) || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secure_name_has_no_path_no_device_and_only_ascii() {
        let cases = [
            ("", ""),
            ("photo.jpg", "photo.jpg"),
            ("My cool movie.mov", "My_cool_movie.mov"),
            ("../../../etc/passwd", "etc_passwd"),
            ("..\\..\\windows\\system.ini", "windows_system.ini"),
            ("C:\\Users\\ada\\a.txt", "C_Users_ada_a.txt"),
            ("/etc/passwd", "etc_passwd"),
            ("a/../b", "a_b"),
            ("i contain cool \u{fc}ml\u{e4}uts.txt", "i_contain_cool_umlauts.txt"),
            ("\u{c6}\u{d8}\u{df}.txt", "txt"),
            ("日本.txt", "txt"),
            ("日本", ""),
            ("..", ""),
            (".", ""),
            (".htaccess", "htaccess"),
            ("__filename__", "filename"),
            ("foo$&^*)bar", "foobar"),
            ("a\0b\r\nc", "ab_c"),
            ("a\"b<c>|d?e*f:g", "abcdefg"),
            ("nul", "_nul"),
            ("NUL.txt", "_NUL.txt"),
            ("con.tar.gz", "_con.tar.gz"),
            ("com1", "_com1"),
            ("COM\u{b9}", "_COM1"),
            ("\u{15b}wiat.txt", "swiat.txt"),
            ("\u{151}r.txt", "or.txt"),
            ("\u{fb01}le.txt", "file.txt"),
            ("\u{ff21}\u{ff22}.txt", "AB.txt"),
            ("a\u{2024}\u{2024}\u{2215}b", "a..b"),
            ("com10", "com10"),
            ("lpt0.x", "_lpt0.x"),
            ("console.txt", "console.txt"),
            ("a.txt.", "a.txt"),
            ("-rf", "-rf"),
        ];
        for (filename, expected) in cases {
            assert_eq!(secure_filename(filename), expected, "{filename:?}");
        }
    }
}
