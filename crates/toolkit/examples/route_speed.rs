//! Prints how long a router with 1,000 rules takes to find one, in nanoseconds. Run it with `--release`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use amboss_toolkit::routing::{RouteError, Router};
use amboss_toolkit::Response;

/// How long each kind of request is repeated.
const TIME: Duration = Duration::from_millis(500);

fn main() -> Result<(), RouteError> {
    let start = Instant::now();
    let router = thousand_rules()?;
    println!("{:20} {:8.1} ms", "building the router", start.elapsed().as_secs_f64() * 1e3);
    for (what, method, path) in [
        ("static", "GET", "/page{}/about"),
        ("one int argument", "GET", "/group{}/user/123456"),
        ("two arguments", "GET", "/shop{}/de/item/123456"),
        ("404", "GET", "/shop{}/de/nothing"),
        ("405", "DELETE", "/shop{}/de/order"),
    ] {
        println!("{what:20} {:8.1} ns", measure(&router, method, path));
    }
    Ok(())
}

fn thousand_rules() -> Result<Router, RouteError> {
    let page = || Response::empty(200);
    let mut builder = Router::builder();
    for number in 0..250 {
        builder = builder
            .get(&format!("/page{number}/about"), page())
            .get(&format!("/group{number}/user/<int:id>"), page())
            .get(&format!("/shop{number}/<lang>/item/<int:id>"), page())
            .post(&format!("/shop{number}/<lang>/order"), page());
    }
    builder.build()
}

/// The time of a match in nanoseconds, over paths that lead to different rules: the best of several rounds, which other
/// processes have disturbed least.
fn measure(router: &Router, method: &str, path: &str) -> f64 {
    let paths: Vec<String> = (0..250).map(|number| path.replace("{}", &(number * 97 % 250).to_string())).collect();
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < TIME {
        let round = Instant::now();
        for path in &paths {
            black_box(router.find(None, black_box(method), black_box(path)));
        }
        best = best.min(round.elapsed());
    }
    best.as_secs_f64() * 1e9 / paths.len() as f64
}
