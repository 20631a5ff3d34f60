//! A reload that nobody notices: no request is refused, reset or failed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{eventually, is_alive, Client, Program, Told};

#[test]
fn twenty_reloads_under_load_lose_no_request() {
    let program = Program::start("load", Told::default());
    program.wait_for("good 0");
    let (over, port) = (Arc::new(AtomicBool::new(false)), program.port);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (answered, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for index in 0..10 {
        let (over, failures) = (over.clone(), failures.clone());
        let counter = if index == 0 { slow.clone() } else { answered.clone() };
        clients.push(thread::spawn(move || {
            let mut client = None;
            let began = Instant::now();
            for turn in 1.. {
                if over.load(SeqCst) {
                    return;
                }
                // One has a request of two seconds running at all times, some keep their connection, some don't.
                let path = if index == 0 { "/slow" } else { "/" };
                if index % 3 == 2 {
                    client = None;
                }
                let result = match client.take() {
                    Some(client) => Ok(client),
                    None => Client::connect(port),
                }
                .and_then(|mut there| there.get(path).map(|answer| (there, answer)));
                match result {
                    Ok((there, (200, _))) => client = Some(there),
                    Ok((_, other)) => failures.lock().unwrap().push(format!("{path}: {other:?}")),
                    Err(error) => failures.lock().unwrap().push(format!("{path}: {error}")),
                }
                counter.fetch_add(1, SeqCst);
                // Nine of these make five hundred requests a second.
                thread::sleep((Duration::from_millis(18) * turn).saturating_sub(began.elapsed()));
            }
        }));
    }
    let mut pids = Vec::new();
    for round in 1..=20 {
        program.save(&format!("good {round}"));
        pids.push(program.wait_for(&format!("good {round} ")));
    }
    while slow.load(SeqCst) < 3 {
        thread::sleep(Duration::from_millis(20));
    }
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{}", program.said());
    pids.dedup();
    assert_eq!(pids.len(), 20, "each by a process of its own");
    assert!(answered.load(SeqCst) > 500);
}

#[test]
fn a_running_request_finishes_on_the_old_code_and_its_connection_goes_on_with_the_new() {
    let program = Program::start("running", Told { stat: true, ..Told::default() });
    let old = program.wait_for("good 0");
    let mut idle = program.connect().unwrap();
    assert_eq!(idle.get("/").unwrap().1, format!("good 0 {old}"));
    let mut running = program.connect().unwrap();
    running.send("/slow").unwrap();
    // Who comes later is answered, so this one has been accepted.
    program.wait_for("good 0");
    program.save("good 1");
    let new = program.wait_for("good 1");
    assert_eq!(running.answer().unwrap().1, format!("good 0 {old}"));
    assert_eq!(running.get("/").unwrap().1, format!("good 1 {new}"));
    assert_eq!(idle.get("/").unwrap().1, format!("good 1 {new}"), "without having noticed anything");
    assert!(program.said().contains("Restarting with stat"), "{}", program.said());
}

#[test]
fn workers_are_replaced_one_by_one_and_counted_up_and_down() {
    let program = Program::start("workers", Told { workers: 2, ..Told::default() });
    program.wait_for("good 0");
    let old = program.workers(2);
    program.save("good 1");
    program.signal("HUP");
    eventually("the old ones are gone", || !old.iter().any(|&pid| is_alive(pid)));
    let new = program.workers(2);
    assert!(program.get("/").unwrap().1.starts_with("good 1"));
    program.signal("TTOU");
    eventually("one is left", || new.iter().filter(|&&pid| is_alive(pid)).count() == 1);
    let left = new.into_iter().find(|&pid| is_alive(pid)).unwrap();
    assert_eq!(program.workers(1), [left]);
}
