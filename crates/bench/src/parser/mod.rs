//! Request heads: nanoseconds per request beside httparse (which picks AVX2 at run time) and picohttpparser (compiled with
//! `-O3 -mavx2` by the build script). The parsers take turns in slices of well under a millisecond, so that a change of clock
//! frequency or a busy neighbour meets all of them; a round's figure is the median of its slices.
//!
//! A single input repeated teaches the branch predictor every byte of it. The mix, all inputs in an order that never repeats,
//! is the honest one.

mod amboss;
mod httparse;
mod inputs;
mod pico;

use crate::options::Options;
use crate::peers::SUBJECT;
use crate::table::{self, Table};
use crate::Result;
use inputs::Input;
use std::time::{Duration, Instant};

/// Fewer rounds say too little about nanoseconds.
const LEAST_ROUNDS: usize = 5;

/// Slices of each parser in a round.
const SLICES: usize = 200;

/// Requests in a slice.
const REQUESTS: usize = 2000;

/// A parser under measurement.
trait Parser {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Parses the head at the start of `buffer[..filled]` and returns a number made of method, target and field count, so that
    /// none of them can be optimised away; nothing when the parser does not accept the head as complete.
    fn parse(&mut self, buffer: &[u8], filled: usize) -> Option<usize>;

    /// Parses the inputs in this order, and says how long all of it took. Provided here so that the loop is compiled once per
    /// parser, with the parser inside it.
    fn slice(&mut self, inputs: &[Input], order: &[u8]) -> Duration {
        let start = Instant::now();
        for &index in order {
            let input = &inputs[usize::from(index)];
            let buffer = std::hint::black_box(&input.buffer[..]);
            std::hint::black_box(self.parse(buffer, std::hint::black_box(input.filled)));
        }
        start.elapsed()
    }
}

/// Measures and prints.
///
/// # Errors
///
/// When a parser refuses an input, or reads it differently from the others.
pub fn run(options: &Options) -> Result<()> {
    let inputs = inputs::all();
    let mut parsers: Vec<Box<dyn Parser>> =
        vec![Box::new(amboss::Amboss::new()), Box::new(httparse::Httparse), Box::new(pico::Picohttpparser)];
    check(&mut parsers, &inputs)?;

    let rounds = options.rounds.max(LEAST_ROUNDS);
    let names: Vec<&str> = parsers.iter().map(|parser| parser.name()).collect();
    let mut table = heading(&names);
    for case in 0..=inputs.len() {
        // After the single inputs, all of them.
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
        let medians: Vec<f64> = figures.into_iter().map(table::median).collect();
        let name = match inputs.get(case) {
            Some(input) => format!("{} ({} bytes)", input.name, input.filled),
            None => "mix, in random order".into(),
        };
        table.row(row(name, &names, &medians));
    }
    table.print(&format!("Parser, ns per request, median of {rounds} rounds of {SLICES} slices"));
    Ok(())
}

/// One round: the parsers in turn, all with the same order of inputs. Returns ns per request for each.
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
            let time = parsers[index].slice(inputs, &order);
            slices[index].push(time.as_secs_f64() * 1e9 / REQUESTS as f64);
        }
    }
    slices.into_iter().map(table::median).collect()
}

fn check(parsers: &mut [Box<dyn Parser>], inputs: &[Input]) -> Result<()> {
    for input in inputs {
        for parser in parsers.iter_mut() {
            let read = parser.parse(&input.buffer, input.filled);
            if read != Some(input.expected) {
                return Err(format!(
                    "{} reads the {} request as {read:?} instead of {}",
                    parser.name(),
                    input.name,
                    input.expected
                ));
            }
        }
    }
    Ok(())
}

fn heading(names: &[&str]) -> Table {
    let mut columns = vec!["input".to_owned()];
    columns.extend(names.iter().map(|name| format!("{name} ns")));
    let others = names.iter().filter(|&&name| name != SUBJECT);
    columns.extend(others.map(|name| format!("{SUBJECT} ÷ {name}")));
    Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>())
}

fn row(name: String, names: &[&str], medians: &[f64]) -> Vec<String> {
    let figures = || names.iter().zip(medians);
    let subject = figures().find(|(&name, _)| name == SUBJECT).map(|(_, &figure)| figure);
    let mut cells = vec![name];
    cells.extend(medians.iter().map(|figure| format!("{figure:.1}")));
    cells.extend(figures().filter(|(&name, _)| name != SUBJECT).map(|(_, &figure)| table::ratio(subject, figure)));
    cells
}

/// The number each parser has to make of a head.
fn digest(method: &[u8], target: &[u8], fields: usize) -> usize {
    method.len() + target.len() * 16 + fields * 65536
}
