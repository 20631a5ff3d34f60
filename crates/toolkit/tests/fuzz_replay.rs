//! Runs every fuzz target of this crate on its seeds and regressions, and on mutated seeds; see `amboss_core`'s test of
//! the same name.

use std::time::Duration;

use amboss_testkit::{check_target_files, replay_mutated_seeds, replay_seeds};
use amboss_toolkit::fuzzing::TARGETS;

#[test]
fn every_seed_and_every_regression_keeps_the_invariants() {
    replay_seeds(TARGETS);
}

#[test]
fn every_target_has_a_file_in_the_fuzz_folder_and_a_line_in_its_readme() {
    check_target_files(TARGETS, "amboss_toolkit::fuzzing");
}

#[test]
fn mutated_seeds_keep_the_invariants() {
    replay_mutated_seeds(TARGETS, Duration::from_secs(2));
}
