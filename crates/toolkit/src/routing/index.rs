//! The index over the rules: finds those that a path can match, without looking at the others.
//!
//! `matchit` knows static text and arguments, but no converters, and it returns one value for a path. So it holds
//! *shapes*: rules in which each argument is a wildcard. The value of a shape is the list of all rules that can match a
//! path of this shape, most specific first, and the rules decide. A rule that is missing from the list can't match,
//! because `matchit` prefers static text, segment by segment, and would have returned the shape of that rule.
//!
//! A shape with an open end (`/{a}/{*rest}`) and one with a wildcard at the same place (`/{a}/{b}`) are a conflict for
//! `matchit`. Therefore shapes with an open end are in further trees: one for each number of segments before the end.

use std::collections::{BTreeMap, HashMap};

use super::error::{RouteError, RouteErrorKind};
use super::rule::{End, Rule};
use super::segment::Segment;

/// The numbers of rules, in ascending order.
type Candidates = Box<[usize]>;

/// The index over rules, which are known by their place in a list that begins with the most specific rule.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: matchit::Router<usize>,
    /// The trees of shapes with an open end; those with the most segments first.
    open: Vec<matchit::Router<usize>>,
    lists: Vec<Candidates>,
    /// The candidates for the empty path.
    empty: Candidates,
}

/// The segments of a shape; `None` is a wildcard.
type Shape<'r> = Vec<Option<&'r str>>;

impl Index {
    /// Builds the index over rules in their order.
    pub(super) fn new(rules: &[&Rule]) -> Result<Index, RouteError> {
        let mut index = Index::default();
        let shapes: Vec<Shape<'_>> = rules.iter().map(|rule| shape(rule)).collect();
        let all = 0..rules.len();
        index.empty = all.clone().filter(|&number| shapes[number].is_empty()).collect();

        let mut known = HashMap::new();
        let mut open: BTreeMap<usize, (matchit::Router<usize>, HashMap<String, usize>)> = BTreeMap::new();
        for (rule, shape) in rules.iter().zip(&shapes) {
            let path = shape_path(shape);
            if let End::Exact { slash } = rule.end {
                for end in if slash { &["", "/"][..] } else { &[""] } {
                    let list =
                        || all.clone().filter(|&n| fits_exact(rules[n], &shapes[n], shape, *end == "/")).collect();
                    insert(&mut index.exact, &mut index.lists, &mut known, format!("{path}{end}"), rule, list)?;
                }
            } else {
                let (tree, known) = open.entry(shape.len()).or_default();
                let ends = if rule.end == End::Below { &["", "/", "/{*rest}"][..] } else { &["/{*rest}"] };
                for end in ends {
                    let list = || all.clone().filter(|&n| fits_open(rules[n], &shapes[n], shape)).collect();
                    insert(tree, &mut index.lists, known, format!("{path}{end}"), rule, list)?;
                }
            }
        }
        index.open = open.into_values().rev().map(|(tree, _)| tree).collect();
        Ok(index)
    }

    /// The rules that the path can match, most specific first.
    pub(super) fn candidates(&self, path: &str) -> &[usize] {
        if path.is_empty() {
            return &self.empty;
        }
        let mut trees = std::iter::once(&self.exact).chain(&self.open);
        trees.find_map(|tree| tree.at(path).ok()).map_or(&[], |found| &self.lists[*found.value])
    }
}

/// Inserts a shape with the list of its candidates, unless the tree has it.
fn insert(
    tree: &mut matchit::Router<usize>,
    lists: &mut Vec<Candidates>,
    known: &mut HashMap<String, usize>,
    path: String,
    rule: &Rule,
    list: impl FnOnce() -> Candidates,
) -> Result<(), RouteError> {
    // The index has candidates for the empty path.
    if path.is_empty() || known.contains_key(&path) {
        return Ok(());
    }
    tree.insert(&path, lists.len()).map_err(|error| {
        RouteError::new(RouteErrorKind::MalformedRule, format!("the rule {:?} can't be indexed: {error}", rule.text))
    })?;
    known.insert(path, lists.len());
    lists.push(list());
    Ok(())
}

/// The shape of the segments before an open end, or of all segments.
fn shape(rule: &Rule) -> Shape<'_> {
    let text = rule.head.iter().map(|segment| match segment {
        Segment::Static(text) => Some(text.as_str()),
        Segment::Argument { .. } => None,
    });
    text.collect()
}

/// The shape as `matchit` writes it. The names of wildcards have no meaning, but must differ.
fn shape_path(shape: &Shape<'_>) -> String {
    let mut path = String::new();
    for (number, part) in shape.iter().enumerate() {
        match part {
            Some(text) => path.extend(["/", &text.replace('{', "{{").replace('}', "}}")]),
            None => path.push_str(&format!("/{{a{number}}}")),
        }
    }
    path
}

/// Whether a rule can match a path that `matchit` found under this shape without an open end.
fn fits_exact(rule: &Rule, its: &Shape<'_>, shape: &Shape<'_>, slash: bool) -> bool {
    match rule.end {
        End::Exact { slash: wanted } => {
            its.len() == shape.len() && (wanted || !slash) && overlap(its, shape) && !precedes(its, shape)
        }
        End::Path { .. } => its.len() < shape.len() && overlap(its, shape),
        End::Below => its.len() <= shape.len() && overlap(its, shape),
    }
}

/// Whether a rule can match a path that `matchit` found under this shape with an open end.
fn fits_open(rule: &Rule, its: &Shape<'_>, shape: &Shape<'_>) -> bool {
    // A tree with more segments was asked before, and the tree without open ends, too.
    let is_open = !matches!(rule.end, End::Exact { .. });
    is_open && its.len() <= shape.len() && overlap(its, shape) && !(its.len() == shape.len() && precedes(its, shape))
}

/// Whether there are paths that begin with both shapes, as far as both go.
fn overlap(one: &Shape<'_>, other: &Shape<'_>) -> bool {
    one.iter().zip(other).all(|pair| match pair {
        (Some(one), Some(other)) => one == other,
        _ => true,
    })
}

/// Whether `matchit` prefers the first of two shapes that overlap: it has static text where they differ first.
fn precedes(one: &Shape<'_>, other: &Shape<'_>) -> bool {
    one.iter().zip(other).find(|(one, other)| one.is_some() != other.is_some()).is_some_and(|(one, _)| one.is_some())
}
