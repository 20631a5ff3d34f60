//! The folder for what is kept between runs.

use std::path::PathBuf;

/// Returns the folder for environments and interpreters that are kept between runs.
pub fn cache_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("AMBOSS_TEST_CACHE").unwrap_or_else(|| {
        let home = || from("HOME").map(|home| home.join(".cache"));
        from("XDG_CACHE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir).join("amboss-tests")
    })
}
