//! Request heads: nanoseconds per request, compared with httparse (which detects AVX2 when it runs) and picohttpparser
//! (which the build script compiles with `-O3 -mavx2`). The parsers take turns in slices of well under a millisecond,
//! so that a change of the clock frequency or a busy neighbor affects all of them. The figure of a round is the median
//! of its slices.
//!
//! A single input that is repeated trains the branch predictor on every byte of it. The mix, which is all inputs in an
//! order that never repeats, is the realistic case.

mod amboss;
mod contract;
mod httparse;
mod inputs;
mod pico;

use crate::options::Options;
use crate::peers::SUBJECT;
use crate::result::Result;
use crate::table::{self, Spread, Table};
use contract::Parser;
use inputs::Input;

/// The minimum number of rounds. With fewer, a median of nanoseconds varies too much.
const MIN_ROUNDS: usize = 5;

/// The number of slices of each parser in a round.
const SLICES: usize = 200;

/// The number of requests in a slice.
const REQUESTS: usize = 2000;

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// When a parser refuses an input, or parses it differently from the others.
pub fn run(options: &Options) -> Result<()> {
    let inputs = inputs::all();
    let mut parsers: Vec<Box<dyn Parser>> =
        vec![Box::new(amboss::Amboss::new()), Box::new(httparse::Httparse), Box::new(pico::Picohttpparser)];
    check(&mut parsers, &inputs)?;

    let rounds = options.rounds.max(MIN_ROUNDS);
    let names: Vec<&str> = parsers.iter().map(|parser| parser.name()).collect();
    let mut table = Table::new(&columns(&names).iter().map(String::as_str).collect::<Vec<_>>());
    for case in 0..=inputs.len() {
        // The single inputs come first, and then the mix of all of them.
        let choice: Vec<u8> = match case < inputs.len() {
            true => vec![case as u8],
            false => (0..inputs.len() as u8).collect(),
        };
        eprintln!("parser: input {} of {}", case + 1, inputs.len() + 1);
        let mut figures = vec![Vec::new(); parsers.len()];
        for number in 0..rounds {
            for (figures, figure) in figures.iter_mut().zip(round(&mut parsers, &inputs, &choice, number as u64)) {
                figures.push(figure);
            }
        }
        let name = match inputs.get(case) {
            Some(input) => format!("{} ({} bytes)", input.name, input.filled),
            None => "mix, in random order".into(),
        };
        table.row(row(name, &names, &figures));
    }
    table.print(&format!("Parser, ns per request, median of {rounds} rounds of {SLICES} slices"));
    Ok(())
}

/// Runs a round: the parsers in turn, all with the same order of inputs. Returns nanoseconds per request for each
/// parser.
fn round(parsers: &mut [Box<dyn Parser>], inputs: &[Input], choice: &[u8], seed: u64) -> Vec<f64> {
    let mut random = 0x9E37_79B9_7F4A_7C15 ^ (seed + 1);
    let mut slices = vec![Vec::with_capacity(SLICES); parsers.len()];
    for turn in 0..SLICES {
        let order: Vec<u8> = (0..REQUESTS)
            .map(|_| {
                // xorshift64
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                choice[(random >> 32) as usize % choice.len()]
            })
            .collect();
        for offset in 0..parsers.len() {
            let index = (turn + offset) % parsers.len();
            let time = parsers[index].time_slice(inputs, &order);
            slices[index].push(time.as_secs_f64() * 1e9 / REQUESTS as f64);
        }
    }
    slices.into_iter().map(table::median).collect()
}

fn check(parsers: &mut [Box<dyn Parser>], inputs: &[Input]) -> Result<()> {
    for input in inputs {
        for parser in parsers.iter_mut() {
            let digest = parser.parse(&input.buffer, input.filled);
            if digest != Some(input.expected) {
                return Err(format!(
                    "{} parses the {} request as {digest:?} instead of {}",
                    parser.name(),
                    input.name,
                    input.expected
                ));
            }
        }
    }
    Ok(())
}

fn columns(names: &[&str]) -> Vec<String> {
    let mut columns = vec!["input".to_owned()];
    columns.extend(names.iter().map(|name| format!("{name} ns")));
    let others = names.iter().filter(|&&name| name != SUBJECT);
    columns.extend(others.map(|name| format!("{SUBJECT} ÷ {name}")));
    columns
}

/// The row of an input. `figures`: for each parser, a figure for each round.
fn row(input: String, names: &[&str], figures: &[Vec<f64>]) -> Vec<String> {
    let parsers = || names.iter().zip(figures);
    let subject = parsers().find(|(&name, _)| name == SUBJECT).map(|(_, figures)| figures);
    let mut cells = vec![input];
    cells.extend(figures.iter().map(|figures| format!("{:.1}", table::median(figures.iter().copied()))));
    let others = parsers().filter(|(&name, _)| name != SUBJECT);
    cells.extend(
        others.map(|(_, figures)| table::ratio_cell(subject.and_then(|subject| Spread::of_ratios(subject, figures)))),
    );
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_spread_of_each_ratio() {
        let figures = [vec![10.0, 20.0, 30.0], vec![20.0, 20.0, 20.0], vec![40.0, 40.0, 15.0]];
        let cells = row("wrk".into(), &[SUBJECT, "httparse", "picohttpparser"], &figures);
        assert_eq!(cells, ["wrk", "20.0", "20.0", "40.0", "1.00 (0.50 to 1.50)", "0.50 (0.25 to 2.00)"]);
    }

    #[test]
    fn all_parsers_agree_on_all_inputs() {
        let mut parsers: Vec<Box<dyn Parser>> =
            vec![Box::new(amboss::Amboss::new()), Box::new(httparse::Httparse), Box::new(pico::Picohttpparser)];
        assert_eq!(check(&mut parsers, &inputs::all()), Ok(()));
    }
}
