//! Headless Chromium, driven by the DevTools protocol over a pair of pipes: no port, no WebSocket.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use amboss_testkit::{find_chromium, TempDir, DEADLINE};
use serde_json::{json, Value};

/// The first start of the browser on a machine is slow.
const START: Duration = Duration::from_secs(120);

/// A browser with one page. Dropping the value ends it.
pub struct Chromium {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    events: Vec<Value>,
    last_id: u64,
    session: Option<String>,
    /// Removed after the browser has ended.
    _profile: TempDir,
}

impl Chromium {
    /// Starts the browser. `None`, after a skip, when there is no Chromium.
    pub fn start() -> Option<Chromium> {
        let name = find_chromium()?;
        let profile = TempDir::new("debugger-chromium");
        // The browser reads commands from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", name])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { return };
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Chromium { child, input, messages, events: Vec::new(), last_id: 0, session: None, _profile: profile };
        let target = browser.call_within(START, "Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", target)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        Some(browser)
    }

    /// Sets the width of the page in CSS pixels, and the colour scheme.
    pub fn look(&mut self, width: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&mut self, url: &str) {
        self.events.clear();
        let result = self.call("Page.navigate", json!({"url": url}));
        assert!(result["errorText"].is_null(), "{url}: {result}");
        self.wait_for_event("Page.loadEventFired");
    }

    /// Evaluates an expression as if the user had caused it, and returns its value or that of its promise.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.eval(expression) != true {
            assert!(Instant::now() < deadline, "{expression} never was true");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page, which may be replaced meanwhile, has this title.
    #[track_caller]
    pub fn wait_for_title(&mut self, title: &str) {
        let deadline = Instant::now() + DEADLINE;
        // The page that is replaced can't be asked, so the list of the browser's tabs is.
        let is_there = |targets: &Value| {
            targets["targetInfos"].as_array().is_some_and(|list| list.iter().any(|target| target["title"] == title))
        };
        while !is_there(&self.call("Target.getTargets", json!({}))) {
            assert!(Instant::now() < deadline, "the title never was {title:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str, text: &str) {
        let code = if key == "Enter" { 13 } else { u32::from(key.as_bytes()[0].to_ascii_uppercase()) };
        let down = json!({"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// The errors that the console shows since the page was opened, including violations of its policy.
    pub fn console_errors(&mut self) -> Vec<String> {
        // Events arrive in order, so after this call all earlier ones are here.
        self.eval("1");
        let is_error = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            // The status 500 of the page is an entry as well.
            Some("Log.entryAdded") => {
                let entry = &event["params"]["entry"];
                entry["level"] == "error" && entry["source"] != "network"
            }
            _ => false,
        };
        self.events.iter().filter(is_error).map(Value::to_string).collect()
    }

    /// Grants permissions of the browser, which belong to no page.
    pub fn grant(&mut self, permissions: Value) {
        let session = self.session.take();
        self.call("Browser.grantPermissions", permissions);
        self.session = session;
    }

    /// Calls a method of the DevTools protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.call_within(DEADLINE, method, parameters)
    }

    #[track_caller]
    fn call_within(&mut self, timeout: Duration, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\0").as_bytes()).and_then(|()| input.flush()).unwrap();
        let deadline = Instant::now() + timeout;
        loop {
            let message = self.receive(deadline, method);
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn wait_for_event(&mut self, method: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.events.iter().any(|event| event["method"] == method) {
            let event = self.receive(deadline, method);
            self.events.push(event);
        }
    }

    #[track_caller]
    fn receive(&mut self, deadline: Instant, awaited: &str) -> Value {
        match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("{awaited}: no response in time"),
            Err(RecvTimeoutError::Disconnected) => panic!("{awaited}: Chromium has exited"),
        }
    }
}

impl Drop for Chromium {
    /// The browser ends, with all its processes, when its pipe is closed.
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
