//! Files as bodies (`wsgi.file_wrapper`).

use std::io::{Seek, SeekFrom};

use super::app;
use crate::support::*;
use amboss_core::Body;

#[test]
fn files_are_sent_from_their_position_and_in_ranges() {
    let dir = TempDir::new("files");
    let content: Vec<u8> = (0..8_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    std::fs::write(dir.join("file"), &content).unwrap();
    let path = dir.join("file");
    let app = app(move |environ, start_response| {
        let mut file = std::fs::File::open(&path)?;
        match environ.path().as_ref() {
            b"/length" => start_response.start("200 OK", &[("Content-Length", "10")])?,
            b"/toolong" => start_response.start("200 OK", &[("Content-Length", "9000000")])?,
            _ => start_response.start("200 OK", &[])?,
        }
        Ok(match environ.path().as_ref() {
            b"/from" => {
                file.seek(SeekFrom::Start(1_000_000))?;
                Body::file(file)
            }
            b"/range" => {
                file.seek(SeekFrom::Start(1_000_000))?;
                Body::file_range(file, 3_000_001)
            }
            b"/beyond" => {
                file.seek(SeekFrom::Start(9_000_000))?;
                Body::file(file)
            }
            b"/overrange" => {
                file.seek(SeekFrom::Start(7_999_990))?;
                Body::file_range(file, 1_000)
            }
            b"/written" => {
                start_response.write(b"before ")?;
                Body::file_range(file, 200_000)
            }
            _ => Body::file(file),
        })
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        let whole = client.get("/");
        assert_eq!(whole.field("Content-Length"), Some("8000000"));
        assert!(whole.body == content);
        assert!(client.get("/from").body == content[1_000_000..]);
        assert!(client.get("/range").body == content[1_000_000..4_000_001]);
        assert!(client.get("/beyond").body.is_empty());
        assert!(client.get("/overrange").body == content[7_999_990..]);
        assert!(client.get("/length").body == content[..10]);
        assert!(client.get("/written").body == [b"before ", &content[..200_000]].concat());
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("8000000"));
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert!(client.response().body == content);
        let short = server.connect().get("/toolong");
        assert_eq!((short.complete, short.body.len()), (false, content.len()));
    });
}

// On other systems a folder cannot even be opened as a file.
#[cfg(unix)]
#[test]
fn an_unreadable_file_is_a_500() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        let path = if environ.path() == &b"/null"[..] { "/dev/null" } else { "/" };
        Ok(Body::file(std::fs::File::open(path)?))
    });
    for_each_server(app, |server| {
        assert_eq!(server.get("/directory").status, 500);
        let null = server.get("/null");
        assert_eq!((null.status, null.body.len()), (200, 0));
    });
}
