//! The application of the test servers.

use std::io::{Read, Write};

use amboss_core::{on_upgrade, AppError, Body, Environ, StartResponse};
use amboss_testkit::TempDir;

/// Pseudorandom bytes, so that a missing or misplaced piece is noticed.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// The application of the test servers: `/environ` lists the environ, `/echo` returns the request body, `/large/N`
/// returns N bytes of [`pattern`], `/blocks/N` the same in blocks of many sizes, `/file/N` the same as a file,
/// `/upgrade` echoes everything after the upgrade, `/cut` fails in the middle of its response, and every other path
/// returns `hello`.
pub fn fixture(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    let length = path.rsplit('/').next().and_then(|last| last.parse::<usize>().ok()).unwrap_or(0);
    let ok = |start_response: &mut dyn StartResponse| start_response.start("200 OK", &[]);
    match path.split('/').nth(1).unwrap_or_default() {
        "environ" => {
            let mut lines: Vec<String> =
                environ.iter().map(|(key, value)| format!("{key}={}\n", value.escape_ascii())).collect();
            lines.sort();
            ok(start_response)?;
            Ok(Body::from(lines.concat()))
        }
        "echo" => {
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            ok(start_response)?;
            Ok(Body::from(body))
        }
        "large" => {
            ok(start_response)?;
            Ok(Body::from(pattern(length)))
        }
        "blocks" => {
            start_response.start("200 OK", &[("Content-Length", length.to_string().as_str())])?;
            let (bytes, mut sent, mut size) = (pattern(length), 0, 1);
            Ok(Body::iter(std::iter::from_fn(move || {
                let block = bytes[sent..].iter().take(size).copied().collect::<Vec<u8>>();
                (sent, size) = (sent + block.len(), size * 3 % 100_003);
                (!block.is_empty()).then_some(block)
            })))
        }
        "file" => {
            let folder = TempDir::new("file");
            std::fs::write(folder.join("f"), pattern(length))?;
            ok(start_response)?;
            Ok(Body::file(std::fs::File::open(folder.join("f"))?))
        }
        "upgrade" => {
            on_upgrade(environ, |connection| {
                // The application cannot have the socket itself, because the connection is encrypted.
                let mut connection = connection.into_socket().expect_err("the connection is encrypted");
                let mut piece = [0; 1000];
                while let Ok(count @ 1..) = connection.read(&mut piece) {
                    connection.write_all(&piece[..count]).unwrap();
                }
            });
            start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
            Ok(Body::empty())
        }
        "cut" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::try_iter([Ok(b"half".to_vec()), Err("the rest is missing".into())]))
        }
        _ => {
            ok(start_response)?;
            Ok(Body::from("hello"))
        }
    }
}
