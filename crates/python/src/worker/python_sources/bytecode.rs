//! Deleting the bytecode of a source that has changed.
//!
//! Python compares the size of a source, and its time in seconds, with those of the source that it has compiled. If a
//! source is saved twice within a second, Python could therefore keep using the bytecode of the first save.

use std::fs;
use std::path::Path;

/// Deletes the bytecode of this file, if it is a Python source. Errors are ignored.
pub(super) fn delete_compiled(source: &Path) {
    let (Some(folder), Some(stem)) = (source.parent(), source.file_stem()) else { return };
    if source.extension().is_none_or(|extension| extension != "py") {
        return;
    }
    // There is one file for each version of Python: names.cpython-313.pyc, names.cpython-313.opt-1.pyc.
    let of_source = [stem.as_encoded_bytes(), b"."].concat();
    for entry in fs::read_dir(folder.join("__pycache__")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(&of_source) && name.ends_with(b".pyc") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytecode_of_a_source_is_deleted() {
        let folder = std::env::temp_dir().join(format!("amboss-bytecode-{}", std::process::id()));
        let cache = folder.join("__pycache__");
        fs::create_dir_all(&cache).unwrap();
        let names =
            ["a.cpython-39.pyc", "a.cpython-313.opt-1.pyc", "a.txt", "a", "ab.cpython-39.pyc", "b.cpython-39.pyc"];
        names.iter().for_each(|name| fs::write(cache.join(name), "").unwrap());
        for source in ["a.py", "b.txt", "not-there.py", "__pycache__/a.py"] {
            delete_compiled(&folder.join(source));
        }
        let mut left: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, ["a", "a.txt", "ab.cpython-39.pyc", "b.cpython-39.pyc"]);
    }
}
