//! Runs the examples as a user would, and checks that they do what their first lines say. `cgi_hello` is tested in
//! `cgi`.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use amboss_testkit::{curl, Client, Process, Response, TempDir};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use serde_json::{json, Value};

/// Returns the command of an example. `cargo test` builds the examples into a folder beside that of the tests.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

/// A running example; dropping it kills the process.
struct Example {
    _process: Process,
    address: String,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Example {
        let mut process = Process::spawn(example(name).args(arguments));
        let address = process.wait_for_output("prints its address", |output| {
            let (address, _) = output.split_once("listening on ")?.1.split_once('\n')?;
            Some(address.to_owned())
        });
        Example { _process: process, address }
    }

    fn get(&self, path: &str) -> Response {
        Client::connect(&*self.address).get(path)
    }

    /// Sends a request with this request line (without the version), these fields and this body.
    fn send(&self, line: &str, fields: &str, body: &[u8]) -> Response {
        let mut client = Client::connect(&*self.address);
        let length = body.len();
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n"));
        client.send(body);
        if line.starts_with("HEAD ") {
            return client.response_to_head();
        }
        client.response()
    }

    fn send_json(&self, line: &str, body: &str) -> Response {
        self.send(line, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// Sends a form with files, whose names are written as they are.
    fn upload(&self, files: &[(&str, &[u8])]) -> Response {
        let mut body = Vec::new();
        for (name, content) in files {
            let field = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
            body.extend_from_slice(format!("--limit\r\n{field}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--limit--\r\n");
        self.send("POST /", "Content-Type: multipart/form-data; boundary=limit\r\n", &body)
    }
}

fn parse(response: &Response) -> Value {
    assert_eq!(response.field("Content-Type"), Some("application/json"), "{}", response.head);
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn api_creates_lists_reads_and_deletes_notes() {
    let api = Example::start("api", &["127.0.0.1:0"]);
    assert_eq!(parse(&api.get("/notes")), json!([]));
    for (id, text) in [(1, "buy milk"), (2, "größer als \"1\"")] {
        let created = api.send_json("POST /notes", &json!({ "text": text }).to_string());
        let note = json!({ "id": id, "text": text });
        assert_eq!((created.status, parse(&created)), (201, note.clone()));
        let location = created.field("Location").unwrap();
        assert_eq!(location, format!("/notes/{id}"));
        assert_eq!(parse(&api.get(location)), note);
    }
    assert_eq!(parse(&api.get("/notes")).as_array().unwrap().len(), 2);

    let deleted = api.send("DELETE /notes/2", "", b"");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(api.get("/notes/2").status, 404);
    let third = api.send_json("POST /notes", r#"{"text": "x"}"#);
    assert_eq!(third.field("Location"), Some("/notes/3"), "an id is not used again");
}

#[test]
fn api_answers_head_and_options_and_explains_errors_in_json() {
    let api = Example::start("api", &["127.0.0.1:0"]);
    api.send_json("POST /notes", r#"{"text": "x"}"#);
    let head = api.send("HEAD /notes/1", "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.field("Content-Length"), Some("19"), "the length of the body of GET: {}", head.head);
    let options = api.send("OPTIONS /notes/1", "", b"");
    let allowed = options.field("Allow").unwrap();
    assert_eq!(options.status, 204);
    assert!(["GET", "HEAD", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    assert_eq!(api.send("PUT /notes/1", "", b"").status, 405);
    assert_eq!(api.get("/notes/one").status, 404);

    for (response, status, words) in [
        (api.get("/notes/7"), 404, "There is no note 7."),
        (api.send("DELETE /notes/7", "", b""), 404, "There is no note 7."),
        (api.send_json("POST /notes", r#"{"text": " "}"#), 422, "must not be empty"),
        (api.send_json("POST /notes", r#"{"words": ""}"#), 400, "missing field `text`"),
        (api.send_json("POST /notes", "{"), 400, "EOF"),
        (api.send("POST /notes", "Content-Type: text/plain\r\n", b"{}"), 415, "application/json"),
    ] {
        let object = parse(&response);
        assert!(response.status == status && object["error"].as_str().unwrap().contains(words), "{object} {words}");
    }
}

#[test]
fn upload_stores_files_lists_them_and_offers_them_for_download() {
    let folder = TempDir::new("upload");
    let upload = Example::start("upload", &[&folder.join_str("new"), "127.0.0.1:0"]);
    assert!(upload.get("/").text().contains("enctype=\"multipart/form-data\""));
    let bytes: Vec<u8> = (0..600_000_u32).flat_map(u32::to_be_bytes).collect();
    let stored = upload.upload(&[("numbers.bin", &bytes), ("a page.html", b"<script>alert(1)</script>")]);
    assert_eq!((stored.status, stored.field("Location")), (303, Some("/")));
    assert!(fs::read(folder.join("new/numbers.bin")).unwrap() == bytes, "the file is the one that was sent");

    let page = upload.get("/").text();
    assert!(page.contains("<li><a href=\"/files/a_page.html\">a_page.html</a>, 25 bytes\n"), "{page}");
    assert!(page.contains("numbers.bin</a>, 2400000 bytes"), "{page}");
    let download = upload.get("/files/a_page.html");
    assert_eq!(download.text(), "<script>alert(1)</script>");
    assert_eq!(download.field("Content-Disposition"), Some("attachment; filename=\"a_page.html\""));
    for path in ["/files/missing", "/files/..", "/files/%2e%2e%2fsecret", "/files/.hidden"] {
        assert_eq!(upload.get(path).status, 404, "{path}");
    }
}

#[test]
fn upload_writes_only_new_files_in_its_folder_and_keeps_its_limits() {
    let folder = TempDir::new("upload");
    let upload = Example::start("upload", &[&folder.join_str("new"), "127.0.0.1:0"]);
    for (name, stored) in
        [("../../escape.txt", "escape.txt"), ("..\\windows.txt", "windows.txt"), ("/etc/passwd", "etc_passwd")]
    {
        assert_eq!(upload.upload(&[(name, b"x")]).status, 303, "{name}");
        assert_eq!(fs::read(folder.join("new").join(stored)).unwrap(), b"x", "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written beside the folder");
    let existing = upload.upload(&[("escape.txt", b"other")]);
    assert!(existing.status == 409 && existing.text().contains("escape.txt exists already."), "{}", existing.text());
    assert_eq!(fs::read(folder.join("new/escape.txt")).unwrap(), b"x");

    assert_eq!(upload.upload(&[]).status, 400);
    assert_eq!(upload.upload(&[("日本", b"x")]).status, 400);
    let many: Vec<(String, &[u8])> = (0..21).map(|number| (format!("many{number}"), &b"x"[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    assert_eq!(upload.upload(&many).status, 413);
    // The server does not wait for a body that is too long.
    let mut client = Client::connect(&*upload.address);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485761\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 413);
}

#[test]
fn upload_takes_the_form_that_curl_sends() {
    let folder = TempDir::new("upload");
    let upload = Example::start("upload", &[&folder.join_str("new"), "127.0.0.1:0"]);
    folder.write("Notes.md", "# Notes\n");
    let part = format!("file=@{};filename=../../read me.md", folder.join_str("Notes.md"));
    let url = format!("http://{}/", upload.address);
    let Some(head) = curl(&["-i", "-F", &part, &url], b"") else { return };
    assert!(head.starts_with("HTTP/1.1 303 "), "{head}");
    assert_eq!(curl(&[&format!("{url}files/read_me.md")], b"").unwrap(), "# Notes\n");
}

#[test]
fn files_serves_a_folder_with_a_listing_and_ranges() {
    let folder = TempDir::new("files");
    folder.write("site/a.txt", "0123456789abc");
    folder.write("site/with index/index.html", "<p>index");
    folder.write("secret", "secret");
    let files = Example::start("files", &[&folder.join_str("site"), "127.0.0.1:0"]);
    let listing = files.get("/").text();
    assert!(listing.contains("a.txt") && !listing.contains("secret"), "{listing}");
    assert_eq!(files.get("/with%20index/").text(), "<p>index");
    let part = files.send("GET /a.txt", "Range: bytes=0-9\r\n", b"");
    assert_eq!((part.status, part.text().as_str()), (206, "0123456789"));
    let unchanged = files.send("GET /a.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", b"");
    assert_eq!(unchanged.status, 304);
    for path in ["/../secret", "/%2e%2e/secret"] {
        assert!(!files.get(path).text().contains("secret\n") && files.get(path).status >= 400, "{path}");
    }
}

/// A running `oauth_callback` and what its URL says.
struct SignIn {
    process: Process,
    address: String,
    state: String,
    url: String,
}

impl SignIn {
    fn start(seconds: &str) -> SignIn {
        let mut process = Process::spawn(example("oauth_callback").args(["127.0.0.1:0", seconds]));
        let url = process.wait_for_output("prints the URL", |output| {
            output.lines().find(|line| line.starts_with("https://")).map(str::to_owned)
        });
        let value = |name: &str| {
            let query = url.split_once('?').unwrap().1;
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} in {url}")).1.into_owned()
        };
        let redirect_uri = value("redirect_uri");
        let address = redirect_uri.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/callback")).unwrap();
        assert_eq!(value("code_challenge_method"), "S256");
        for name in ["state", "code_challenge"] {
            assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(value(name)).unwrap().len(), 32, "{name} in {url}");
        }
        SignIn { address: address.to_owned(), state: value("state"), process, url }
    }

    fn call_back(&self, query: &str) -> Response {
        Client::connect(&*self.address).get(&format!("/callback?{query}"))
    }
}

#[test]
fn oauth_callback_waits_for_the_right_state_prints_the_claims_and_exits() {
    let mut sign_in = SignIn::start("60");
    let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"ada","name":"Ada ✓"}"#);
    let token = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let state = sign_in.state.clone();
    let longer = format!("{state}A");
    for wrong in ["", "wrong", &state[1..], &longer] {
        let refused = sign_in.call_back(&format!("state={wrong}&id_token={token}"));
        assert!(refused.status == 400 && refused.text().contains("not that of this sign-in"), "{wrong:?}");
    }
    for token in ["", "a.b", "no-dots", "a.!.c"] {
        assert_eq!(sign_in.call_back(&format!("state={state}&id_token={token}")).status, 400, "{token:?}");
    }
    assert_eq!(Client::connect(&*sign_in.address).get("/favicon.ico").status, 404);
    assert!(sign_in.process.try_wait().is_none(), "the example keeps waiting: {}", sign_in.process.output());

    let page = sign_in.call_back(&format!("state={state}&id_token={token}"));
    assert!(page.status == 200 && page.text().contains("You can close this window."), "{}", page.text());
    assert!(sign_in.process.wait_with_output().success(), "{}", sign_in.process.output());
    let output = sign_in.process.output();
    assert!(output.ends_with("Signed in, NOT verified: {\"name\":\"Ada ✓\",\"sub\":\"ada\"}\n"), "{output}");
    assert!(!output.contains(&payload), "the token is in no log: {output}");
    assert!(TcpStream::connect(&sign_in.address).is_err(), "the port is free");
}

#[test]
fn oauth_callback_fails_when_the_provider_refuses_or_no_callback_arrives() {
    let mut refused = SignIn::start("60");
    assert_eq!(refused.call_back(&format!("state={}&error=access_denied", refused.state)).status, 200);
    let mut late = SignIn::start("1");
    assert_ne!((&refused.state, &refused.url), (&late.state, &late.url), "each sign-in has another state");
    for (sign_in, message) in [(&mut refused, "access_denied"), (&mut late, "no callback arrived within 1 seconds")] {
        assert!(!sign_in.process.wait_with_output().success());
        assert!(sign_in.process.stderr().contains(message), "{}", sign_in.process.output());
    }
}
