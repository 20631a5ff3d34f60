//! Runs fuzz targets, which are ordinary functions, without a fuzzer: on their seeds and regressions, and on mutated
//! seeds.

use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of a target and its function, which panics on a finding.
pub type FuzzTarget = (&'static str, fn(&[u8]));

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The inputs in a folder, sorted by name; Markdown files are not inputs.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_none_or(|end| end != "md")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a readable file"))).collect()
}

/// Runs each target on all of its seeds and regressions. A target without seeds fails.
pub fn replay_seeds(targets: &[FuzzTarget]) {
    for (name, body) in targets {
        let seeds = inputs(&fuzz_folder().join("seeds").join(name));
        assert!(!seeds.is_empty(), "the target {name} has no seeds");
        let regressions = inputs(&fuzz_folder().join("regressions").join(name));
        for (path, data) in seeds.iter().chain(&regressions) {
            if catch_unwind(AssertUnwindSafe(|| body(data))).is_err() {
                panic!("{name} fails on {}", path.display());
            }
        }
    }
}

/// Checks that the files in `fuzz/fuzz_targets` that call functions of `module` are the targets, and that
/// `fuzz/README.md` mentions each.
pub fn check_target_files(targets: &[FuzzTarget], module: &str) {
    let mut names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let mut files: Vec<String> = fs::read_dir(fuzz_folder().join("fuzz_targets"))
        .expect("fuzz/fuzz_targets exists")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| fs::read_to_string(path).expect("a readable file").contains(module))
        .map(|path| path.file_stem().expect("a file name").to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, names);
    let readme = fs::read_to_string(fuzz_folder().join("README.md")).expect("fuzz/README.md exists");
    for name in names {
        assert!(readme.contains(&format!("`{name}`")), "fuzz/README.md does not mention {name}");
    }
}

/// Runs each target on mutated seeds, which are the same in every run, for at most `time_limit`.
///
/// Not a replacement for the fuzzer: it finds only errors that nearly any input triggers.
pub fn replay_mutated_seeds(targets: &[FuzzTarget], time_limit: Duration) {
    const INPUTS_PER_SECOND: u64 = 10_000;
    for (name, body) in targets {
        let seeds = inputs(&fuzz_folder().join("seeds").join(name));
        let mut prng = Prng(0x0a_2b_05_5e);
        let began = Instant::now();
        for _ in 0..INPUTS_PER_SECOND * time_limit.as_secs() {
            let mut data = seeds[prng.below(seeds.len())].1.clone();
            for _ in 0..=prng.below(4) {
                prng.mutate(&mut data, &seeds);
            }
            if catch_unwind(AssertUnwindSafe(|| body(&data))).is_err() {
                panic!("{name} fails on \"{}\"", data.escape_ascii());
            }
            if began.elapsed() > time_limit {
                break;
            }
        }
    }
}

/// A xorshift generator, always with the same seed.
struct Prng(u64);

impl Prng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound.max(1)
    }

    fn mutate(&mut self, data: &mut Vec<u8>, seeds: &[(PathBuf, Vec<u8>)]) {
        const DELIMITERS: &[u8] = b"\r\n\0 \t:;,/%?#@[]+-_019afAF\x7f\x80\xff";
        let at = self.below(data.len() + 1);
        match self.below(6) {
            0 => data.truncate(at),
            1 => data.insert(at, DELIMITERS[self.below(DELIMITERS.len())]),
            2 if at < data.len() => drop(data.remove(at)),
            3 if at < data.len() => data[at] = DELIMITERS[self.below(DELIMITERS.len())],
            4 if at < data.len() => data[at] ^= 1 << self.below(8),
            _ => {
                // Insert a part of another seed.
                let other = &seeds[self.below(seeds.len())].1;
                let from = self.below(other.len() + 1);
                let to = from + self.below((other.len() - from).min(40) + 1);
                data.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}
