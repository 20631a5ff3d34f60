//! The files that a Python traceback names: those of a program that has failed before it could report its files.

use std::path::{Path, PathBuf};

/// Returns the files that a traceback names, and the paths where the file or module that it reports missing could be
/// created. `here` is where the program ran.
pub(super) fn named_files(output: &[u8], here: &Path) -> Vec<PathBuf> {
    let output = String::from_utf8_lossy(output);
    let mut named: Vec<PathBuf> = Vec::new();
    for line in output.lines() {
        let path = line.strip_prefix("  File \"").and_then(|rest| rest.split_once("\", line "));
        if let Some((path, _)) = path.filter(|(path, _)| !path.starts_with('<')) {
            named.push(here.join(path));
        }
    }
    // The directories of the program's own modules, not those of installed packages.
    let is_installed = |folder: &Path| folder.ends_with("site-packages") || folder.ends_with("dist-packages");
    let mut folders = vec![here.to_owned()];
    folders.extend(named.iter().filter_map(|path| path.parent()).map(Path::to_owned));
    folders.retain(|folder| !folder.ancestors().any(is_installed));
    folders.sort();
    folders.dedup();
    let missing: Vec<Missing> = output.lines().filter_map(missing).collect();
    for what in missing {
        match what {
            Missing::File(path) => named.push(here.join(path)),
            Missing::Module(name) => {
                let path = name.replace('.', "/");
                for folder in &folders {
                    named.extend([folder.join(format!("{path}.py")), folder.join(&path).join("__init__.py")]);
                }
            }
        }
    }
    named.sort();
    named.dedup();
    named
}

enum Missing {
    Module(String),
    File(String),
}

/// Returns the file or module that the last line of a traceback reports missing.
fn missing(line: &str) -> Option<Missing> {
    let quoted = |rest: &str| rest.split('\'').next().map(str::to_owned);
    if let Some(rest) = line.strip_prefix("ModuleNotFoundError: No module named '") {
        return quoted(rest).map(Missing::Module);
    }
    if let Some(rest) = line.strip_prefix("ImportError: cannot import name '") {
        let (name, rest) = rest.split_once("' from '")?;
        return quoted(rest).map(|package| Missing::Module(format!("{package}.{name}")));
    }
    let (error, rest) = line.split_once(": [Errno ")?;
    let (_, path) = rest.split_once(": '")?;
    (error.ends_with("Error")).then(|| path.strip_suffix('\'').map(|path| Missing::File(path.to_owned())))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn names(last: &str, expected: &[&str]) {
        let output = format!(
            "hello\nTraceback (most recent call last):\n  File \"/shop/serve.py\", line 1, in <module>\n    import x\n  \
             File \"<frozen importlib>\", line 3, in y\n  File \"/v/site-packages/z/a.py\", line 3, in y\n{last}\n"
        );
        let mut expected: Vec<PathBuf> =
            expected.iter().chain(&["/shop/serve.py", "/v/site-packages/z/a.py"]).map(PathBuf::from).collect();
        expected.sort();
        assert_eq!(named_files(output.as_bytes(), Path::new("/here")), expected);
    }

    #[test]
    fn a_traceback_names_what_would_repair_it() {
        names("ValueError: no", &[]);
        names("OSError: no", &[]);
        names("FileNotFoundError: [Errno 2] No such file or directory: 'a b.txt'", &["/here/a b.txt"]);
        names("FileNotFoundError: [Errno 2] No such file or directory: '/etc/x'", &["/etc/x"]);
        names(
            "ModuleNotFoundError: No module named 'a.b'",
            &["/here/a/b.py", "/here/a/b/__init__.py", "/shop/a/b.py", "/shop/a/b/__init__.py"],
        );
        names(
            "ImportError: cannot import name 'b' from 'a' (/shop/a/__init__.py)",
            &["/here/a/b.py", "/here/a/b/__init__.py", "/shop/a/b.py", "/shop/a/b/__init__.py"],
        );
    }

    #[test]
    fn other_output_names_nothing() {
        assert!(named_files(b"error: File \"x\"\n  File \"x\n\xff", Path::new("/here")).is_empty());
    }
}
