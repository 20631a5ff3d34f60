//! Frames that are cut and merged in every way, with real descriptors.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::message::{HEADER, MAX_PAYLOAD};
use super::socket::{send_some, WRITE_TIMEOUT};
use super::*;

fn pair() -> (ControlSocket, ControlSocket) {
    let (one, other) = UnixStream::pair().unwrap();
    (ControlSocket::new(one).unwrap(), ControlSocket::new(other).unwrap())
}

/// A connection to hand over, and the client's end of it.
fn connection(read: &[u8]) -> (ControlMessage, UnixStream) {
    let (client, server) = UnixStream::pair().unwrap();
    (
        ControlMessage::Connection { socket: server.into(), client: String::new(), read: read.to_vec(), body: None },
        client,
    )
}

/// Asserts that the message contains the server's end of the client's connection.
fn assert_connected(message: ControlMessage, client: &mut UnixStream, expected: &[u8]) {
    let ControlMessage::Connection { socket, read, .. } = message else { panic!("not a connection: {message:?}") };
    assert_eq!(read, expected);
    let flags = rustix::io::fcntl_getfd(&socket).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "without FD_CLOEXEC programs would inherit it");
    UnixStream::from(socket).write_all(b"here").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "here");
}

fn frame(tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn every_message_arrives_unchanged() {
    let (one, mut other) = pair();
    let tags = [
        ControlMessage::Ready,
        ControlMessage::Drained,
        ControlMessage::ReplaceMe,
        ControlMessage::Waiting,
        ControlMessage::Start { generation: 1 << 40 },
        ControlMessage::Accepted,
        ControlMessage::Leaving,
        ControlMessage::Stop,
        ControlMessage::Drain,
        ControlMessage::ReopenLogs,
        ControlMessage::Files(vec!["/a.py".into(), "/b c.py".into()]),
    ];
    for message in &tags {
        one.send(message).unwrap();
        let received = other.receive().unwrap().unwrap();
        assert_eq!(format!("{message:?}"), format!("{received:?}"));
    }
    for read in [vec![], b"GET /half HT".to_vec(), vec![7; MAX_PAYLOAD]] {
        let (message, mut client) = connection(&read);
        std::thread::scope(|scope| {
            // The message exceeds the socket's buffer, so it needs a reader.
            scope.spawn(|| one.send(&message).unwrap());
            let received = other.receive().unwrap().unwrap();
            let ControlMessage::Connection { read: arrived, .. } = &received else { panic!("{received:?}") };
            assert_eq!(arrived.len(), read.len());
            assert_connected_later(received, &mut client, &read);
        });
        drop(message);
    }
    drop(one);
    assert!(other.receive().unwrap().is_none());
}

#[test]
fn a_long_list_of_files_is_split_into_several_messages() {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let strange = [path(b"/a b"), path(b"/caf\xe9\n.py"), path(&[b'/'; MAX_PAYLOAD])];
    let many: Vec<PathBuf> = (0..20_000).map(|number| path(format!("/lib/module_{number}.py").as_bytes())).collect();
    let invalid = [path(b""), path(b"relative.py"), path(b"/a\0b"), path(&[b'/'; MAX_PAYLOAD + 1])];
    let expected = [&strange[..], &many].concat();
    let (one, mut other) = pair();
    let received = std::thread::scope(|scope| {
        scope.spawn(move || {
            for message in ControlMessage::files([&strange[..], &invalid, &many].concat()) {
                one.send(&message).unwrap();
            }
        });
        let mut received = Vec::new();
        while let Some(message) = other.receive().unwrap() {
            let ControlMessage::Files(files) = message else { panic!("{message:?}") };
            received.push(files);
        }
        received
    });
    assert!((4..10).contains(&received.len()), "{} messages", received.len());
    assert_eq!(received.concat(), expected);
    assert_eq!(ControlMessage::files([path(b"relative.py")]).count(), 0);
}

/// Like `assert_connected`, while the sender still holds its copy.
fn assert_connected_later(message: ControlMessage, client: &mut UnixStream, expected: &[u8]) {
    let ControlMessage::Connection { socket, read, .. } = message else { panic!("not a connection: {message:?}") };
    assert_eq!(read, expected);
    UnixStream::from(socket).write_all(b"here").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"here");
}

#[test]
fn frames_may_be_cut_at_every_byte() {
    let read = b"GET / HTTP/1.1\r\n";
    let whole = [frame(b'C', read), frame(b'R', b""), frame(b'C', b"")].concat();
    let second = whole.len() - HEADER;
    for cut in 1..whole.len() {
        let (one, mut other) = pair();
        let (message, mut client) = connection(read);
        let (later, mut later_client) = connection(b"");
        let (ControlMessage::Connection { socket, .. }, ControlMessage::Connection { socket: later, .. }) =
            (message, later)
        else {
            unreachable!()
        };
        let mut ends = vec![cut, second, whole.len()];
        ends.sort_unstable();
        let mut from = 0;
        let reader = std::thread::spawn(move || (0..3).map(|_| other.receive().unwrap().unwrap()).collect::<Vec<_>>());
        for to in ends {
            let attached = match from {
                0 => Some(socket.as_fd()),
                from if from == second => Some(later.as_fd()),
                _ => None,
            };
            if from < to {
                assert_eq!(send_some(&one.shared.stream, &whole[from..to], attached.as_slice()), Ok(to - from));
            }
            from = to;
        }
        drop((socket, later));
        let mut received = reader.join().unwrap().into_iter();
        assert_connected(received.next().unwrap(), &mut client, read);
        assert!(matches!(received.next(), Some(ControlMessage::Ready)), "cut at {cut}");
        assert_connected(received.next().unwrap(), &mut later_client, b"");
    }
}

#[test]
fn many_frames_in_one_read_keep_their_descriptors() {
    let (one, mut other) = pair();
    let mut clients = Vec::new();
    for number in 0..40u8 {
        for _ in 0..number % 3 {
            one.send(&ControlMessage::Ready).unwrap();
        }
        let (message, client) = connection(&[number]);
        one.send(&message).unwrap();
        clients.push(client);
    }
    drop(one);
    let mut number = 0;
    while let Some(message) = other.receive().unwrap() {
        if !matches!(message, ControlMessage::Ready) {
            assert_connected(message, &mut clients[usize::from(number)], &[number]);
            number += 1;
        }
    }
    assert_eq!(number, 40);
}

#[test]
fn unknown_tags_are_skipped_with_their_descriptors() {
    let (one, mut other) = pair();
    let (ControlMessage::Connection { socket: unknown, .. }, mut unknown_client) = connection(b"") else {
        unreachable!()
    };
    assert!(send_some(&one.shared.stream, &frame(b'?', b"from the future"), &[unknown.as_fd()]).is_ok());
    drop(unknown);
    let (message, mut client) = connection(b"x");
    one.send(&message).unwrap();
    drop(message);
    assert_connected(other.receive().unwrap().unwrap(), &mut client, b"x");
    drop(other);
    assert_eq!(unknown_client.read(&mut [0]).unwrap(), 0, "the skipped descriptor must be closed");
}

#[test]
fn a_connection_without_its_descriptor_is_skipped() {
    let (one, mut other) = pair();
    (&one.shared.stream).write_all(&frame(b'C', b"x")).unwrap();
    let (message, mut client) = connection(b"y");
    one.send(&message).unwrap();
    drop(message);
    assert_connected(other.receive().unwrap().unwrap(), &mut client, b"y");
}

#[test]
fn bytes_that_are_no_frame_are_an_error() {
    let (one, mut other) = pair();
    (&one.shared.stream).write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);

    let (one, mut other) = pair();
    (&one.shared.stream).write_all(b"C\0\0\0\x05abc").unwrap();
    drop(one);
    assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_payload_beyond_the_maximum_is_refused_before_anything_is_sent() {
    let (one, mut other) = pair();
    let (message, _client) = connection(&vec![0; MAX_PAYLOAD + 1]);
    assert_eq!(one.send(&message).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    one.send(&ControlMessage::Stop).unwrap();
    assert!(matches!(other.receive().unwrap(), Some(ControlMessage::Stop)));
}

#[test]
fn sending_to_a_closed_socket_is_an_error_and_no_signal() {
    let (one, other) = pair();
    drop(other);
    assert_eq!(one.send(&ControlMessage::Ready).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn both_sides_may_send_many_connections_at_once() {
    const MANY: usize = 200;
    let (one, other) = pair();
    std::thread::scope(|scope| {
        for mut control in [one, other] {
            let sender = control.sender();
            scope.spawn(move || {
                for _ in 0..MANY {
                    let (message, _client) = connection(&[7; 4000]);
                    sender.send(&message).unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..MANY {
                    assert!(matches!(control.receive().unwrap(), Some(ControlMessage::Connection { .. })));
                }
            });
        }
    });
}

#[test]
fn sending_to_a_side_that_does_not_read_times_out() {
    let timeout = Duration::from_millis(300);
    let (one, other) = UnixStream::pair().unwrap();
    let one = ControlSocket::with_write_timeout(one, timeout).unwrap();
    let begin = Instant::now();
    let error = loop {
        let (message, _client) = connection(&[7; 60_000]);
        if let Err(error) = one.send(&message) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begin.elapsed() < WRITE_TIMEOUT, "{:?}", begin.elapsed());
    drop(other);
}

#[test]
fn frames_of_several_threads_do_not_mix() {
    let (one, mut other) = pair();
    std::thread::scope(|scope| {
        for letter in b'a'..b'e' {
            let sender = one.sender();
            scope.spawn(move || {
                for _ in 0..50 {
                    let (message, _client) = connection(&[letter; 20_000]);
                    sender.send(&message).unwrap();
                }
            });
        }
        for _ in 0..200 {
            let Some(ControlMessage::Connection { read, .. }) = other.receive().unwrap() else {
                panic!("not a connection")
            };
            assert_eq!(read.len(), 20_000);
            assert!(read.iter().all(|byte| *byte == read[0]));
        }
    });
}

#[test]
fn what_is_known_about_the_client_and_a_request_body_arrive_with_their_connection() {
    for (known, has_body) in [("", true), ("192.0.2.7:1", true), ("192.0.2.7:1", false)] {
        let (one, mut other) = pair();
        let (message, mut client) = connection(b"POST / HTTP/1.1\r\n\r\n");
        let ControlMessage::Connection { socket, read, .. } = message else { unreachable!() };
        let body = has_body.then(|| {
            let file = tempfile().unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"body", 0).unwrap();
            RequestBody { file: file.into(), length: 4 }
        });
        one.send(&ControlMessage::Connection { socket, client: known.into(), read, body }).unwrap();
        let received = other.receive().unwrap().unwrap();
        let ControlMessage::Connection { socket, client: arrived, read, body } = received else {
            panic!("{received:?}")
        };
        assert_eq!((arrived.as_str(), body.is_some()), (known, has_body));
        if let Some(body) = body {
            let mut bytes = [0; 4];
            std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::from(body.file), &mut bytes, 0).unwrap();
            assert_eq!((body.length, &bytes), (4, b"body"));
        }
        let message = ControlMessage::Connection { socket, client: arrived, read, body: None };
        assert_connected(message, &mut client, b"POST / HTTP/1.1\r\n\r\n");
    }
}

/// A file without a name.
fn tempfile() -> io::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("amboss-control-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
