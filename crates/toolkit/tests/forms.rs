//! Forms over a socket: what curl, Python and a broken client send, with collected and streamed bodies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use amboss_core::{
    make_server, Address, AppError, Body, BodyMode, Concurrency, Environ, LocalAddr, NoLog, ServeError, Settings,
    ShutdownHandle, StartResponse,
};
use amboss_testkit::{curl, python, Client, TempDir};
use amboss_toolkit::form::{parse_form, FormLimits};

/// Answers with the fields and files of the form, or with the error.
fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let (status, text) = match parse_form(environ, &FormLimits::default()) {
        Ok(form) => {
            let fields = form.fields.iter().map(|(name, value)| format!("{name}={value}\n"));
            let files = form.files.iter().map(|file| {
                let sum: u64 = file.bytes(u64::MAX).unwrap().iter().map(|&byte| u64::from(byte)).sum();
                let content_type = file.content_type().unwrap_or_default().into_owned();
                format!("{}: {} {content_type} {} bytes, {sum}\n", file.name(), file.filename(), file.size())
            });
            ("200 OK".to_owned(), fields.chain(files).collect())
        }
        Err(error) => (format!("{} Refused", error.status()), error.to_string()),
    };
    start_response.start(&status, &[("Content-Type", "text/plain; charset=utf-8")])?;
    Ok(Body::from(text))
}

/// A server in a thread. Dropping the value stops it.
struct TestServer {
    address: SocketAddr,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TestServer {
    fn start(mut settings: Settings) -> TestServer {
        settings.log = Arc::new(NoLog);
        let addresses = [Address::new("127.0.0.1", 0)];
        let mut server = make_server(&addresses, app, Concurrency::Threads, settings).unwrap();
        let LocalAddr::Tcp(address) = server.local_addrs()[0] else { panic!("not a TCP address") };
        let handle = server.shutdown_handle();
        TestServer { address, handle, thread: Some(std::thread::spawn(move || server.serve_forever())) }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.shutdown();
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().unwrap().unwrap();
        }
    }
}

/// Runs a test with bodies collected in memory, collected in a file, and streamed.
fn for_each_body_mode(test: impl Fn(&TestServer)) {
    for (mode, memory) in [(BodyMode::Collect, 1 << 20), (BodyMode::Collect, 0), (BodyMode::Stream, 0)] {
        let mut settings = Settings::default();
        (settings.body_mode, settings.limits.body_memory) = (mode, memory);
        test(&TestServer::start(settings));
    }
}

#[test]
fn curl_uploads_files_and_fields() {
    let folder = TempDir::new("forms");
    let bytes: Vec<u8> = (0..700_000u32).map(|n| (n * 7 / 5) as u8).collect();
    let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
    std::fs::write(folder.join("photo.png"), &bytes).unwrap();
    let photo = format!("photo=@{};filename=\"a\\\"b ü.png\"", folder.join_str("photo.png"));
    for_each_body_mode(|server| {
        let url = format!("http://{}/", server.address);
        for coding in ["Transfer-Encoding: chunked", "X-None: 1"] {
            let Some(text) = curl(&["-H", coding, "-F", "title=Ä \"+%", "-F", &photo, "-F", "tag=1", &url], b"")
            else {
                return;
            };
            assert_eq!(text, format!("title=Ä \"+%\ntag=1\nphoto: a\"b ü.png image/png 700000 bytes, {sum}\n"));
        }
        let text = curl(&["--data-urlencode", "a=ä +&=%", "-d", "b=1", &url], b"");
        assert_eq!(text.as_deref(), Some("a=ä +&=%\nb=1\n"));
    });
}

#[test]
fn a_form_of_another_client_of_the_standard_library_is_read() {
    const SCRIPT: &str = "
import sys, urllib.request, urllib.parse
data = urllib.parse.urlencode([('a', 'ä &='), ('a', '')]).encode()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.buffer.write(opener.open('http://' + sys.argv[1] + '/', data, timeout=30).read())
";
    for_each_body_mode(|server| {
        let Some(text) = python(SCRIPT, &[&server.address.to_string()]) else { return };
        assert_eq!(text, "a=ä &=\na=\n");
    });
}

#[test]
fn a_refused_form_has_its_status_and_a_sentence() {
    const PART: &str = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
    let cases = [
        ("multipart/form-data; boundary=b", PART.to_owned(), 400, "the form ends before its last boundary"),
        ("multipart/form-data; boundary=b", PART.repeat(1001), 413, "the form has more than 1000 fields"),
        ("multipart/form-data", PART.to_owned(), 400, "the Content-Type of a multipart form needs one boundary"),
        ("application/x-www-form-urlencoded; charset=latin1", "a=1".to_owned(), 415, "the form has another charset"),
    ];
    for_each_body_mode(|server| {
        for (content_type, body, status, sentence) in &cases {
            let mut client = Client::connect(server.address);
            let length = body.len();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
            let response = client.response();
            assert_eq!(response.status, *status, "{}", response.text());
            assert!(response.text().starts_with(sentence), "{}", response.text());
        }
    });
}

#[test]
fn an_upload_that_is_cut_is_refused_and_not_accepted_in_part() {
    let mut settings = Settings::default();
    settings.body_mode = BodyMode::Stream;
    let server = TestServer::start(settings);
    let mut client = Client::connect(server.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\ndata",
    );
    client.finish_sending();
    let response = client.response();
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.text().contains("closed the connection"), "{}", response.text());
}
