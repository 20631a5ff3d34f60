//! Compiles picohttpparser a second time, with the flags that its authors measure it with: `-O3 -mavx2`. The build
//! script of picohttpparser-sys takes flags only from the environment, so that the user would have to set them. This
//! script finds the C source of that crate with `cargo metadata`, compiles it with the flags, and renames the
//! functions.

use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "picohttpparser-sys";
const RENAMED: [&str; 5] = [
    "phr_parse_request",
    "phr_parse_response",
    "phr_parse_headers",
    "phr_decode_chunked",
    "phr_decode_chunked_is_in_data",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let folder = package_folder().join("deps/picohttpparser");
    let mut build = cc::Build::new();
    build.file(folder.join("picohttpparser.c")).include(&folder).opt_level(3).warnings(false);
    for name in RENAMED {
        build.define(name, format!("fast_{name}").as_str());
    }
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        build.flag("-mavx2");
    }
    build.compile("fast_picohttpparser");
}

/// The folder of the package's source.
fn package_folder() -> PathBuf {
    let variable = |name: &str| std::env::var(name).expect("cargo sets this variable for build scripts");
    let output = Command::new(variable("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", &variable("TARGET")])
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let json = String::from_utf8_lossy(&output.stdout);
    // Only one string of the output matters: "manifest_path":"…/picohttpparser-sys-1.0.0/Cargo.toml"
    json.split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next())
        .map(|manifest| Path::new(manifest).parent().unwrap_or(Path::new("")))
        .find(|folder| {
            let name = folder.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(PACKAGE))
        })
        .unwrap_or_else(|| {
            panic!(
                "the output of cargo metadata does not contain {PACKAGE}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
        .to_owned()
}
