//! Replacing processes: no request is refused, reset or failed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use amboss_testkit::{is_alive, wait_until};

use crate::supervisor_process::{try_connect, SupervisorProcess, TestOptions};

#[test]
fn twenty_reloads_under_load_lose_no_request() {
    let program = SupervisorProcess::start("load", TestOptions::default());
    program.wait_for_code("good 0");
    let (stopped, port) = (Arc::new(AtomicBool::new(false)), program.port);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (answered, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for index in 0..10 {
        let (stopped, failures) = (stopped.clone(), failures.clone());
        let counter = if index == 0 { slow.clone() } else { answered.clone() };
        clients.push(thread::spawn(move || {
            let mut client = None;
            let began = Instant::now();
            for round in 1.. {
                if stopped.load(SeqCst) {
                    return;
                }
                // One client always has a request of two seconds running; of the others, some keep their connection.
                let path = if index == 0 { "/slow" } else { "/" };
                if index % 3 == 2 {
                    client = None;
                }
                let result = match client.take() {
                    Some(client) => Ok(client),
                    None => try_connect(port),
                }
                .and_then(|mut client| client.try_get(path).map(|response| (client, response)));
                match result {
                    Ok((used, response)) if response.status == 200 => client = Some(used),
                    Ok((_, response)) => failures.lock().unwrap().push(format!("{path}: {response:?}")),
                    Err(error) => failures.lock().unwrap().push(format!("{path}: {error}")),
                }
                counter.fetch_add(1, SeqCst);
                // Nine such clients send five hundred requests a second.
                thread::sleep((Duration::from_millis(18) * round).saturating_sub(began.elapsed()));
            }
        }));
    }
    let mut pids = Vec::new();
    for round in 1..=20 {
        program.save(&format!("good {round}"));
        pids.push(program.wait_for_code(&format!("good {round} ")));
    }
    wait_until("three slow requests have finished", || slow.load(SeqCst) >= 3);
    stopped.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{}", program.stderr());
    pids.dedup();
    assert_eq!(pids.len(), 20, "each code is served by a process of its own");
    assert!(answered.load(SeqCst) > 500);
}

#[test]
fn a_running_request_finishes_with_the_old_code_and_its_connection_moves_to_the_new() {
    let program = SupervisorProcess::start("running", TestOptions { stat: true, ..TestOptions::default() });
    let old = program.wait_for_code("good 0");
    let mut idle = program.connect();
    assert_eq!(idle.get("/").text(), format!("good 0 {old}"));
    let mut running = program.connect();
    running.start_get("/slow");
    program.save("good 1");
    let new = program.wait_for_code("good 1");
    assert_eq!(running.response().text(), format!("good 0 {old}"));
    assert_eq!(running.get("/").text(), format!("good 1 {new}"));
    // Another event loop of the old process may hand this one over later, and answers what arrives before that.
    let expected = format!("good 1 {new}");
    wait_until("the idle connection has moved to the new process", || idle.get("/").text() == expected);
    assert!(program.stderr().contains("Restarting with stat"), "{}", program.stderr());
}

#[test]
fn hup_replaces_workers_and_ttou_removes_one() {
    let program = SupervisorProcess::start("workers", TestOptions { workers: 2, ..TestOptions::default() });
    program.wait_for_code("good 0");
    let old = program.worker_pids(2);
    program.save("good 1");
    program.signal("HUP");
    wait_until("the old workers have exited", || !old.iter().any(|&pid| is_alive(pid)));
    let new = program.worker_pids(2);
    assert!(program.get("/").text().starts_with("good 1"));
    program.signal("TTOU");
    wait_until("one worker is left", || new.iter().filter(|&&pid| is_alive(pid)).count() == 1);
    let left = new.into_iter().find(|&pid| is_alive(pid)).unwrap();
    assert_eq!(program.worker_pids(1), [left]);
}
