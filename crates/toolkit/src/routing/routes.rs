//! The table of a router: which application answers a request, and which URL a name has.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use amboss_core::Application;

use super::error::{RouteError, RouteErrorKind};
use super::host::{normalize, HostPattern};
use super::index::Index;
use super::rule::{End, Fit, Rule};
use super::segment::{Span, Spans, MAX_ARGUMENTS};
use super::url::{encode_path, Values};

/// The rules and hosts of a router.
#[derive(Debug)]
pub(super) struct Routes {
    /// The most specific rule is first.
    rules: Vec<Route>,
    index: Index,
    hosts: Vec<HostRoute>,
    names: HashMap<String, usize>,
}

/// A rule with its application.
pub(super) struct Route {
    pub(super) rule: Rule,
    pub(super) methods: Methods,
    pub(super) name: Option<String>,
    pub(super) app: Box<dyn Application>,
    /// The table of the application, if it is a router.
    pub(super) nested: Option<Arc<Routes>>,
}

/// A host with its application.
pub(super) struct HostRoute {
    pub(super) pattern: HostPattern,
    pub(super) app: Box<dyn Application>,
}

/// The methods that a rule takes.
#[derive(Debug)]
pub(super) enum Methods {
    Any,
    Listed {
        names: Vec<String>,
        /// Whether the handler of GET answers HEAD (RFC 9110 §9.3.2).
        head: bool,
    },
}

impl Methods {
    fn accept(&self, method: &str) -> bool {
        match self {
            Methods::Any => true,
            Methods::Listed { names, head } => names.iter().any(|name| name == method) || (*head && method == "HEAD"),
        }
    }

    fn append_to<'r>(&'r self, allowed: &mut Vec<&'r str>) {
        if let Methods::Listed { names, head } = self {
            allowed.extend(names.iter().map(String::as_str));
            allowed.extend(head.then_some("HEAD"));
        }
    }
}

/// The result of [`Router::find`](super::Router::find).
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup<'r, 'p> {
    /// A rule, a prefix or a host matches.
    Found(Found<'r, 'p>),
    /// This path matches: it has a slash at its end, or single slashes. It is not percent-encoded.
    Redirect(String),
    /// Rules match the path, but not the method. The methods that they take, HEAD and OPTIONS included, in
    /// alphabetical order.
    MethodNotAllowed(Vec<&'r str>),
    /// No rule matches.
    NotFound,
}

/// A rule, a prefix or a host that matches a request, with its arguments.
pub struct Found<'r, 'p> {
    routes: &'r Routes,
    pub(super) place: Place,
    text: Cow<'p, str>,
    spans: Spans,
    /// The byte of the path at which that of the mounted application begins.
    pub(super) prefix: Option<usize>,
}

/// A rule or a host, by its number in the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Rule(usize),
    Host(usize),
}

impl<'r> Found<'r, '_> {
    /// The rule, the prefix or the host as it was written.
    pub fn rule(&self) -> &'r str {
        match self.place {
            Place::Rule(number) => &self.routes.rules[number].rule.text,
            Place::Host(number) => &self.routes.hosts[number].pattern.text,
        }
    }

    /// The name of the rule or of the prefix.
    pub fn name(&self) -> Option<&'r str> {
        match self.place {
            Place::Rule(number) => self.routes.rules[number].name.as_deref(),
            Place::Host(_) => None,
        }
    }

    /// The value of an argument.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.args().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The arguments, from left to right.
    pub fn args(&self) -> impl Iterator<Item = (&'r str, &str)> {
        let spans = self.spans.iter().map(|&(first, end)| &self.text[first as usize..end as usize]);
        self.routes.names(self.place).iter().map(String::as_str).zip(spans)
    }

    /// The text that the arguments are in, and their places; empty without arguments.
    pub(super) fn arguments(&self) -> (&str, &[Span]) {
        match self.routes.names(self.place).len() {
            0 => ("", &[]),
            count => (&self.text, &self.spans[..count]),
        }
    }

    pub(super) fn app(&self) -> &'r dyn Application {
        match self.place {
            Place::Rule(number) => &*self.routes.rules[number].app,
            Place::Host(number) => &*self.routes.hosts[number].app,
        }
    }
}

impl fmt::Debug for Found<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<_> = self.args().collect();
        f.debug_struct("Found").field("rule", &self.rule()).field("args", &args).finish()
    }
}

impl Routes {
    /// Makes the table of rules and hosts, in their order of definition.
    pub(super) fn new(mut rules: Vec<Route>, mut hosts: Vec<HostRoute>) -> Result<Routes, RouteError> {
        // Both sorts keep the order of definition among equals.
        rules.sort_by_cached_key(|route| route.rule.weight());
        hosts.sort_by_key(|host| host.pattern.weight());
        let index = Index::new(&rules.iter().map(|route| &route.rule).collect::<Vec<_>>())?;
        let names = rules.iter().enumerate().filter_map(|(number, route)| Some((route.name.clone()?, number)));
        Ok(Routes { names: names.collect(), rules, index, hosts })
    }

    /// Finds the application of a host.
    pub(super) fn find_host(&self, field: &str) -> Option<Found<'_, 'static>> {
        if self.hosts.is_empty() {
            return None;
        }
        let (host, mut spans) = (normalize(field), [(0, 0); MAX_ARGUMENTS]);
        let number = self.hosts.iter().position(|route| route.pattern.matches(&host, &mut spans))?;
        let text = Cow::Owned(host.into_owned());
        Some(Found { routes: self, place: Place::Host(number), text, spans, prefix: None })
    }

    /// Finds the application of a path, and merges slashes if there is none.
    pub(super) fn find<'p>(&self, method: &str, path: &'p str) -> Lookup<'_, 'p> {
        match self.find_as_is(method, path) {
            Lookup::NotFound if path.contains("//") => {
                let merged = merge_slashes(path);
                match self.find_as_is(method, &merged) {
                    Lookup::Found(_) => Lookup::Redirect(merged),
                    Lookup::Redirect(path) => Lookup::Redirect(path),
                    _ => Lookup::NotFound,
                }
            }
            lookup => lookup,
        }
    }

    fn find_as_is<'p>(&self, method: &str, path: &'p str) -> Lookup<'_, 'p> {
        let mut spans = [(0, 0); MAX_ARGUMENTS];
        let mut allowed = Vec::new();
        for &number in self.index.candidates(path) {
            let route = &self.rules[number];
            let Some(fit) = route.rule.matches(path, &mut spans) else { continue };
            let prefix = match fit {
                Fit::Whole => None,
                Fit::Prefix(at) => Some(at),
                Fit::SlashMissing if route.methods.accept(method) => return Lookup::Redirect(format!("{path}/")),
                Fit::SlashMissing => continue,
            };
            if route.methods.accept(method) {
                let (place, text) = (Place::Rule(number), Cow::Borrowed(path));
                return Lookup::Found(Found { routes: self, place, text, spans, prefix });
            }
            route.methods.append_to(&mut allowed);
        }
        if allowed.is_empty() {
            return Lookup::NotFound;
        }
        // The router answers OPTIONS.
        allowed.push("OPTIONS");
        allowed.sort_unstable();
        allowed.dedup();
        Lookup::MethodNotAllowed(allowed)
    }

    /// The names of the arguments of a rule or of a host.
    pub(super) fn names(&self, place: Place) -> &[String] {
        match place {
            Place::Rule(number) => &self.rules[number].rule.names,
            Place::Host(number) => &self.hosts[number].pattern.names,
        }
    }

    /// Builds the path of a name, percent-encoded and with the other values as its query, below `script_name`.
    pub(super) fn url_for(
        &self,
        script_name: &[u8],
        name: &str,
        values: &[(&str, &str)],
    ) -> Result<String, RouteError> {
        let (mut values, mut path) = (Values::new(values), String::new());
        self.build(name, name, &mut values, &mut path)?;
        Ok(encode_path(script_name, path.as_bytes()) + &values.query())
    }

    fn build(&self, name: &str, full: &str, values: &mut Values<'_>, path: &mut String) -> Result<(), RouteError> {
        let unknown = || {
            let message = format!("no rule has the name {full:?}: give it to one with .name(…)");
            RouteError::new(RouteErrorKind::UnknownName, message)
        };
        let (first, rest) = match name.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (name, None),
        };
        let route = &self.rules[*self.names.get(first).ok_or_else(unknown)?];
        match (rest, &route.nested) {
            (None, _) => {
                route.rule.build(values, path)?;
                path.push_str(if route.rule.end == End::Below { "/" } else { "" });
                Ok(())
            }
            (Some(rest), Some(nested)) => {
                route.rule.build(values, path)?;
                nested.build(rest, full, values, path)
            }
            (Some(_), None) => Err(unknown()),
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("rule", &self.rule.text).field("methods", &self.methods).finish_non_exhaustive()
    }
}

impl fmt::Debug for HostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.text.fmt(f)
    }
}

/// Replaces each run of slashes with one.
fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    merged.extend(
        path.chars()
            .scan('\0', |last, letter| {
                let repeated = *last == '/' && letter == '/';
                *last = letter;
                Some((!repeated).then_some(letter))
            })
            .flatten(),
    );
    merged
}
