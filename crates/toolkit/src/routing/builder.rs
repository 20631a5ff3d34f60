//! The builder of a router.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use amboss_core::Application;

use super::error::{RouteError, RouteErrorKind};
use super::host::HostPattern;
use super::router::Router;
use super::routes::{HostRoute, Methods, Route, Routes};
use super::rule::Rule;

/// A builder of a [`Router`]. Each method adds a rule, and [`build`](RouterBuilder::build) reports the first error.
#[derive(Debug, Default)]
#[must_use]
pub struct RouterBuilder {
    rules: Vec<Route>,
    hosts: Vec<HostRoute>,
    /// The rules with the same pattern, by their number.
    patterns: HashMap<String, Vec<usize>>,
    names: HashSet<String>,
    /// The rule that a name would belong to.
    last: Option<usize>,
    error: Option<RouteError>,
}

impl Router {
    /// Makes a builder without rules.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }
}

impl RouterBuilder {
    /// Adds a rule for GET, and with it HEAD.
    pub fn get(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.route(["GET"], rule, app)
    }

    /// Adds a rule for POST.
    pub fn post(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.route(["POST"], rule, app)
    }

    /// Adds a rule for PUT.
    pub fn put(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.route(["PUT"], rule, app)
    }

    /// Adds a rule for PATCH.
    pub fn patch(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.route(["PATCH"], rule, app)
    }

    /// Adds a rule for DELETE.
    pub fn delete(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.route(["DELETE"], rule, app)
    }

    /// Adds a rule for every method.
    pub fn any(self, rule: &str, app: impl Application + 'static) -> RouterBuilder {
        self.add(|_| Ok((Rule::parse(rule)?, Methods::Any)), None, app)
    }

    /// Adds a rule for these methods. A rule for GET also takes HEAD, unless another rule with the same pattern does.
    pub fn route<M: AsRef<str>>(
        self,
        methods: impl IntoIterator<Item = M>,
        rule: &str,
        app: impl Application + 'static,
    ) -> RouterBuilder {
        let read = |_: &RouterBuilder| Ok((Rule::parse(rule)?, read_methods(rule, methods)?));
        self.add(read, None, app)
    }

    /// Mounts an application below a prefix: it answers the prefix alone and every path that continues with a slash. The
    /// prefix moves from PATH_INFO to SCRIPT_NAME, and may have arguments. Rules are tried before prefixes, so an
    /// application that is mounted at `/` answers what no rule matches.
    pub fn mount<A: Application + 'static>(self, prefix: &str, app: A) -> RouterBuilder {
        let nested = (&app as &dyn Any).downcast_ref::<Router>().map(|router| Arc::clone(&router.routes));
        self.add(|_| Ok((Rule::parse_prefix(prefix)?, Methods::Any)), nested, app)
    }

    /// Gives the last rule or prefix a name for [`Router::url_for`].
    pub fn name(mut self, name: &str) -> RouterBuilder {
        let result = self.set_name(name);
        self.note(result);
        self
    }

    /// Passes all requests for a host to an application, before the rules are tried. The host is a name, which is
    /// compared without the port and without regard to case; `<user>.localhost`, whose argument takes one label;
    /// `*.localhost` for all names below; or an address.
    pub fn host(mut self, host: &str, app: impl Application + 'static) -> RouterBuilder {
        self.last = None;
        let result = HostPattern::parse(host).and_then(|pattern| {
            if let Some(earlier) = self.hosts.iter().find(|earlier| earlier.pattern.pattern() == pattern.pattern()) {
                let message = format!(
                    "the host {host:?} matches the same requests as the earlier host {:?}: remove one",
                    earlier.pattern.text
                );
                return Err(RouteError::new(RouteErrorKind::DuplicateHost, message));
            }
            self.hosts.push(HostRoute { pattern, app: Box::new(app) });
            Ok(())
        });
        self.note(result);
        self
    }

    /// Makes the router.
    ///
    /// # Errors
    /// The first error of the calls before: a malformed rule, host, method or name, or a duplicate. The message says
    /// which, and what to do.
    pub fn build(mut self) -> Result<Router, RouteError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // A rule for HEAD takes precedence over the rules for GET with the same pattern.
        for numbers in self.patterns.values() {
            let takes_head = |&number: &usize| matches!(&self.rules[number].methods, Methods::Listed { names, .. } if names.iter().any(|name| name == "HEAD"));
            if numbers.iter().any(takes_head) {
                for &number in numbers {
                    if let Methods::Listed { head, .. } = &mut self.rules[number].methods {
                        *head = false;
                    }
                }
            }
        }
        Ok(Router { routes: Arc::new(Routes::new(self.rules, self.hosts)?) })
    }

    /// Adds a rule, or notes why it can't be added.
    fn add(
        mut self,
        read: impl FnOnce(&RouterBuilder) -> Result<(Rule, Methods), RouteError>,
        nested: Option<Arc<Routes>>,
        app: impl Application + 'static,
    ) -> RouterBuilder {
        self.last = None;
        let result = read(&self).and_then(|(rule, methods)| {
            let numbers = self.patterns.entry(rule.pattern()).or_default();
            for &number in numbers.iter() {
                check_conflict(&self.rules[number], &rule, &methods)?;
            }
            numbers.push(self.rules.len());
            self.last = Some(self.rules.len());
            self.rules.push(Route { rule, methods, name: None, app: Box::new(app), nested });
            Ok(())
        });
        self.note(result);
        self
    }

    fn set_name(&mut self, name: &str) -> Result<(), RouteError> {
        let fail = |kind, message: String| Err(RouteError::new(kind, message));
        if name.is_empty() || name.contains('.') {
            let message = format!("the name {name:?} is empty or has a dot, which joins names: choose another one");
            return fail(RouteErrorKind::MalformedName, message);
        }
        let Some(last) = self.last else {
            let message = format!("the name {name:?} belongs to no rule: call .name(…) after a rule or a prefix");
            return fail(RouteErrorKind::MalformedName, message);
        };
        let rule = &mut self.rules[last];
        if let Some(earlier) = &rule.name {
            let message = format!("the rule {:?} has the names {earlier:?} and {name:?}: remove one", rule.rule.text);
            return fail(RouteErrorKind::DuplicateName, message);
        }
        if !self.names.insert(name.to_owned()) {
            let message = format!("the name {name:?} of {:?} belongs to an earlier rule: rename one", rule.rule.text);
            return fail(RouteErrorKind::DuplicateName, message);
        }
        rule.name = Some(name.to_owned());
        Ok(())
    }

    /// Keeps the first error.
    fn note(&mut self, result: Result<(), RouteError>) {
        if let (Err(error), None) = (result, &self.error) {
            self.error = Some(error);
        }
    }
}

fn read_methods<M: AsRef<str>>(rule: &str, methods: impl IntoIterator<Item = M>) -> Result<Methods, RouteError> {
    let names: Vec<String> = methods.into_iter().map(|method| method.as_ref().to_owned()).collect();
    let fail = |advice: &str| {
        let message = format!("the methods {names:?} of {rule:?} are malformed: {advice}");
        Err(RouteError::new(RouteErrorKind::MalformedMethod, message))
    };
    if names.is_empty() {
        return fail("name at least one, or call .any(…)");
    }
    // Methods are case-sensitive (RFC 9110 §9.1), and a rule for "get" would answer no client.
    let is_method = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'))
    };
    if !names.iter().all(is_method) {
        return fail("write methods in upper case, as clients send them");
    }
    let head = names.iter().any(|name| name == "GET");
    Ok(Methods::Listed { names, head })
}

/// Checks that a rule with the same pattern as an earlier one takes other methods.
fn check_conflict(earlier: &Route, rule: &Rule, methods: &Methods) -> Result<(), RouteError> {
    let what = match (&earlier.methods, methods) {
        (Methods::Any, _) => "every request",
        (Methods::Listed { .. }, Methods::Any) => return Ok(()),
        (Methods::Listed { names, .. }, Methods::Listed { names: later, .. }) => {
            match later.iter().find(|name| names.contains(name)) {
                Some(name) => name,
                None => return Ok(()),
            }
        }
    };
    let message = format!(
        "the rule {:?} can't take {what}, since the earlier rule {:?} does: remove one, or change their order",
        rule.text, earlier.rule.text
    );
    Err(RouteError::new(RouteErrorKind::DuplicateRule, message))
}
