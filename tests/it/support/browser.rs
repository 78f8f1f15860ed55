//! A real Chromium without a window, driven over the DevTools protocol through two pipes: JSON messages, each with a zero at its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::child::ChildGuard;

/// On a busy machine a read of 20 000 destinations takes seconds, and the page waits nine times as long before the next.
const PATIENCE: Duration = Duration::from_secs(300);
/// The descriptors on which Chromium reads and writes.
const READS: libc::c_int = 3;
const WRITES: libc::c_int = 4;

/// A browser with one page.
pub struct Browser {
    to: File,
    from: File,
    /// What came and was not read yet.
    rest: Vec<u8>,
    session: String,
    last: u64,
    /// What the page said of faults, such as a script that the policy forbids.
    complaints: VecDeque<String>,
    _child: ChildGuard,
    _profile: tempfile::TempDir,
}

/// Both ends of a pipe: to read, to write.
fn pipe() -> [OwnedFd; 2] {
    let mut ends = [0; 2];
    // SAFETY: room for two numbers; both are open and nobody else's when it succeeds.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        ends.map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

impl Browser {
    /// Starts one with an empty page of this size in points.
    #[track_caller]
    pub fn start(width: u32, height: u32) -> Browser {
        let profile = tempfile::Builder::new().prefix("chromium-").tempdir().expect("a profile");
        let ([reads, to], [from, writes]) = (pipe(), pipe());
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-extensions"]);
        command.args(["--disable-component-update", "--disable-sync", "--hide-scrollbars"]);
        command.args(["--remote-debugging-pipe", "about:blank"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).env("HOME", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ends = [reads.as_raw_fd(), writes.as_raw_fd()];
        // SAFETY: between fork and exec only plain system calls on open descriptors. They are moved out of the way first: one may have
        // the number that the other is to get.
        unsafe {
            command.pre_exec(move || {
                let high = ends.map(|fd| libc::fcntl(fd, libc::F_DUPFD, 10));
                let done = [libc::dup2(high[0], READS), libc::dup2(high[1], WRITES)];
                if done.contains(&-1) { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let child = ChildGuard::spawn(&mut command).expect("chromium is installed");
        let mut browser = Browser {
            to: to.into(),
            from: from.into(),
            rest: Vec::new(),
            session: String::new(),
            last: 0,
            complaints: VecDeque::new(),
            _child: child,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Another size of the page, in points.
    #[track_caller]
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`.
    #[track_caller]
    pub fn colours(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Goes to this address.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
    }

    /// The value of an expression in the page; a promise is waited for.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The error is what the browser says, such as that it goes to another page just now.
    #[track_caller]
    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let question = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.answer("Runtime.evaluate", question)?;
        if answer["exceptionDetails"].is_null() { Ok(answer["result"]["value"].clone()) } else { Err(answer) }
    }

    /// Asks until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(expression) != Ok(json!(true)) {
            assert!(
                Instant::now() < end,
                "not within {PATIENCE:?}: {expression}; the page: {}; its complaints: {:?}",
                self.value("document.body.innerText.slice(0, 2000)"),
                self.complaints
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses a key, by its name in `KeyboardEvent.key`, as a person does.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        // What the browser itself makes of a key goes by its number.
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            one => (0, one),
        };
        let event =
            |kind: &str| json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code });
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        self.call("Input.dispatchKeyEvent", event(down));
        self.call(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// A picture of what is to be seen, as PNG.
    #[track_caller]
    pub fn picture(&mut self) -> Vec<u8> {
        let options = json!({ "format": "png", "optimizeForSpeed": false });
        let answer = self.call("Page.captureScreenshot", options);
        base64(answer["data"].as_str().expect("a picture"))
    }

    /// What the page complained of so far.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.iter().cloned().collect()
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.answer(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    #[track_caller]
    fn answer(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        let end = Instant::now() + PATIENCE;
        loop {
            let mut message = self.receive(method, end);
            if message["id"] == json!(self.last) {
                let (error, result) = (message["error"].take(), message["result"].take());
                return if error.is_null() { Ok(result) } else { Err(error) };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let said = match message["method"].as_str() {
            Some("Log.entryAdded") => &message["params"]["entry"],
            Some("Runtime.exceptionThrown") => &message["params"]["exceptionDetails"],
            _ => return,
        };
        self.complaints.push_back(said.to_string());
    }

    #[track_caller]
    fn receive(&mut self, method: &str, end: Instant) -> Value {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.rest.drain(..=at).collect();
                return serde_json::from_slice(&message[..at]).expect("JSON");
            }
            let mut poll = libc::pollfd { fd: self.from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let left = end.saturating_duration_since(Instant::now()).as_millis() as libc::c_int;
            // SAFETY: one struct, borrowed for the call.
            let ready = unsafe { libc::poll(&raw mut poll, 1, left) };
            assert!(ready > 0, "{method}: no answer within {PATIENCE:?}");
            let mut part = vec![0; 1 << 16];
            let length = self.from.read(&mut part).expect("the pipe can be read");
            assert!(length > 0, "{method}: the browser has ended");
            self.rest.extend_from_slice(&part[..length]);
        }
    }
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.bytes() {
        let Some(value) = LETTERS.iter().position(|letter| *letter == byte) else { continue };
        (bits, held) = (bits << 6 | value as u32, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
