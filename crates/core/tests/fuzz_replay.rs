//! Runs every fuzz target on its seeds and regressions, with the same code as the fuzzer but with any compiler, and
//! then on mutated seeds, which are the same in every run.

use std::time::Duration;

use amboss_core::fuzzing;
use amboss_testkit::{check_target_files, replay_mutated_seeds, replay_seeds};

#[path = "../../../fuzz/httparse_reference.rs"]
mod httparse_reference;

fn differential(data: &[u8]) {
    fuzzing::differential(data, httparse_reference::parse);
}

fn targets() -> Vec<fuzzing::Target> {
    fuzzing::TARGETS.iter().copied().chain([("differential", differential as fn(&[u8]))]).collect()
}

#[test]
fn every_seed_and_every_regression_keeps_the_invariants() {
    replay_seeds(&targets());
}

#[test]
fn every_target_has_a_file_in_the_fuzz_folder_and_a_line_in_its_readme() {
    check_target_files(&targets(), "amboss_core::fuzzing");
}

#[test]
fn mutated_seeds_keep_the_invariants() {
    replay_mutated_seeds(&targets(), Duration::from_secs(2));
}
