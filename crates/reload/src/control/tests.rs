//! Frames cut and merged in every way, with real descriptors.

use super::*;
use std::io::{Read, Write};

fn pair() -> (Control, Control) {
    let (one, other) = UnixStream::pair().unwrap();
    (Control::new(one).unwrap(), Control::new(other).unwrap())
}

/// A connection to hand over, and the client's end of it.
fn connection(read: &[u8]) -> (Message, UnixStream) {
    let (client, server) = UnixStream::pair().unwrap();
    (Message::Connection { socket: server.into(), read: read.to_vec(), body: None }, client)
}

/// Is this the other end of the client's connection?
fn assert_connected(message: Message, client: &mut UnixStream, expected: &[u8]) {
    let Message::Connection { socket, read, .. } = message else { panic!("not a connection: {message:?}") };
    assert_eq!(read, expected);
    let flags = rustix::io::fcntl_getfd(&socket).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "it would leak into programs");
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
fn every_message_arrives_as_it_was_sent() {
    let (one, mut other) = pair();
    let tags = [
        Message::Ready,
        Message::Drained,
        Message::ReplaceMe,
        Message::Leaving,
        Message::Stop,
        Message::Drain,
        Message::ReopenLogs,
        Message::Files(vec!["/a.py".into(), "/b c.py".into()]),
    ];
    for message in &tags {
        one.send(message).unwrap();
        let received = other.receive().unwrap().unwrap();
        assert_eq!(format!("{message:?}"), format!("{received:?}"));
    }
    for read in [vec![], b"GET /half HT".to_vec(), vec![7; LONGEST_PAYLOAD]] {
        let (message, mut client) = connection(&read);
        std::thread::scope(|scope| {
            // More than the socket holds: it takes a reader.
            scope.spawn(|| one.send(&message).unwrap());
            let received = other.receive().unwrap().unwrap();
            let Message::Connection { read: arrived, .. } = &received else { panic!("{received:?}") };
            assert_eq!(arrived.len(), read.len());
            assert_connected_later(received, &mut client, &read);
        });
        drop(message);
    }
    drop(one);
    assert!(other.receive().unwrap().is_none());
}

#[test]
fn files_go_in_as_many_messages_as_it_takes() {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let strange = [path(b"/a b"), path(b"/caf\xe9\n.py"), path(&[b'/'; LONGEST_PAYLOAD])];
    let many: Vec<PathBuf> = (0..20_000).map(|number| path(format!("/lib/module_{number}.py").as_bytes())).collect();
    let unsayable = [path(b""), path(b"relative.py"), path(b"/a\0b"), path(&[b'/'; LONGEST_PAYLOAD + 1])];
    let expected = [&strange[..], &many].concat();
    let (one, mut other) = pair();
    let received = std::thread::scope(|scope| {
        scope.spawn(move || {
            for message in Message::files([&strange[..], &unsayable, &many].concat()) {
                one.send(&message).unwrap();
            }
        });
        let mut received = Vec::new();
        while let Some(message) = other.receive().unwrap() {
            let Message::Files(files) = message else { panic!("{message:?}") };
            received.push(files);
        }
        received
    });
    assert!((4..10).contains(&received.len()), "{} messages", received.len());
    assert_eq!(received.concat(), expected);
    assert_eq!(Message::files([path(b"relative.py")]).count(), 0);
}

/// As `assert_connected`, while the sender still holds its copy.
fn assert_connected_later(message: Message, client: &mut UnixStream, expected: &[u8]) {
    let Message::Connection { socket, read, .. } = message else { panic!("not a connection: {message:?}") };
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
        let (Message::Connection { socket, .. }, Message::Connection { socket: later, .. }) = (message, later) else {
            unreachable!()
        };
        let mut ends = vec![cut, second, whole.len()];
        ends.sort_unstable();
        let mut from = 0;
        let reader = std::thread::spawn(move || (0..3).map(|_| other.receive().unwrap().unwrap()).collect::<Vec<_>>());
        for to in ends {
            let carried = match from {
                0 => Some(socket.as_fd()),
                from if from == second => Some(later.as_fd()),
                _ => None,
            };
            if from < to {
                assert_eq!(send_some(&one.wire.stream, &whole[from..to], carried.as_slice()), Ok(to - from));
            }
            from = to;
        }
        drop((socket, later));
        let mut received = reader.join().unwrap().into_iter();
        assert_connected(received.next().unwrap(), &mut client, read);
        assert!(matches!(received.next(), Some(Message::Ready)), "cut at {cut}");
        assert_connected(received.next().unwrap(), &mut later_client, b"");
    }
}

#[test]
fn many_frames_in_one_read_keep_their_descriptors() {
    let (one, mut other) = pair();
    let mut clients = Vec::new();
    for number in 0..40u8 {
        for _ in 0..number % 3 {
            one.send(&Message::Ready).unwrap();
        }
        let (message, client) = connection(&[number]);
        one.send(&message).unwrap();
        clients.push(client);
    }
    drop(one);
    let mut number = 0;
    while let Some(message) = other.receive().unwrap() {
        if !matches!(message, Message::Ready) {
            assert_connected(message, &mut clients[usize::from(number)], &[number]);
            number += 1;
        }
    }
    assert_eq!(number, 40);
}

#[test]
fn unknown_tags_are_skipped_with_what_they_carry() {
    let (one, mut other) = pair();
    let (Message::Connection { socket: strange, .. }, mut strange_client) = connection(b"") else { unreachable!() };
    assert!(send_some(&one.wire.stream, &frame(b'?', b"from the future"), &[strange.as_fd()]).is_ok());
    drop(strange);
    let (message, mut client) = connection(b"x");
    one.send(&message).unwrap();
    drop(message);
    assert_connected(other.receive().unwrap().unwrap(), &mut client, b"x");
    drop(other);
    assert_eq!(strange_client.read(&mut [0]).unwrap(), 0, "nobody may keep it open");
}

#[test]
fn a_connection_without_its_descriptor_is_skipped() {
    let (one, mut other) = pair();
    (&one.wire.stream).write_all(&frame(b'C', b"x")).unwrap();
    let (message, mut client) = connection(b"y");
    one.send(&message).unwrap();
    drop(message);
    assert_connected(other.receive().unwrap().unwrap(), &mut client, b"y");
}

#[test]
fn what_is_no_frame_is_an_error() {
    let (one, mut other) = pair();
    (&one.wire.stream).write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);

    let (one, mut other) = pair();
    (&one.wire.stream).write_all(b"C\0\0\0\x05abc").unwrap();
    drop(one);
    assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_payload_beyond_the_bound_is_refused_before_anything_is_sent() {
    let (one, mut other) = pair();
    let (message, _client) = connection(&vec![0; LONGEST_PAYLOAD + 1]);
    assert_eq!(one.send(&message).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    one.send(&Message::Stop).unwrap();
    assert!(matches!(other.receive().unwrap(), Some(Message::Stop)));
}

#[test]
fn sending_to_nobody_is_an_error_and_no_signal() {
    let (one, other) = pair();
    drop(other);
    assert_eq!(one.send(&Message::Ready).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
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
                    assert!(matches!(control.receive().unwrap(), Some(Message::Connection { .. })));
                }
            });
        }
    });
}

#[test]
fn a_side_that_does_not_read_costs_the_other_a_deadline_and_no_more() {
    let patience = Duration::from_millis(300);
    let (one, other) = UnixStream::pair().unwrap();
    let one = Control::with_patience(one, patience).unwrap();
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
fn threads_do_not_mix_their_frames() {
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
            let Some(Message::Connection { read, .. }) = other.receive().unwrap() else { panic!("not a connection") };
            assert_eq!(read.len(), 20_000);
            assert!(read.iter().all(|byte| *byte == read[0]));
        }
    });
}

#[test]
fn the_body_of_a_request_travels_with_its_connection() {
    let (one, mut other) = pair();
    let (message, mut client) = connection(b"POST / HTTP/1.1\r\n\r\n");
    let Message::Connection { socket, read, .. } = message else { unreachable!() };
    let file = tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"body", 0).unwrap();
    let body = Some(RequestBody { file: file.into(), length: 4 });
    one.send(&Message::Connection { socket, read, body }).unwrap();
    let received = other.receive().unwrap().unwrap();
    let Message::Connection { socket, read, body: Some(body) } = received else { panic!("{received:?}") };
    let mut bytes = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::from(body.file), &mut bytes, 0).unwrap();
    assert_eq!((body.length, &bytes), (4, b"body"));
    let message = Message::Connection { socket, read, body: None };
    assert_connected(message, &mut client, b"POST / HTTP/1.1\r\n\r\n");
}

/// A file without a name.
fn tempfile() -> io::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("amboss-control-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
