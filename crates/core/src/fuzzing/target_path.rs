//! `target_path`: a request-target has one path, and it begins with one slash.

use super::show;
use crate::http::{host_is_valid, percent_decode, Leniency, Target, TargetForm};

/// The input is a method, a space and a target.
///
/// - never a panic in [`Target::parse`], [`percent_decode`] and [`host_is_valid`];
/// - in origin-form and absolute-form the path begins with exactly one `/`; it holds no `?` and no `#`;
/// - authority, path and query are pieces of the target, in that order, without overlap;
/// - an authority is a valid Host, without user information;
/// - decoding changes nothing without `%`, never makes longer, and inverts encoding.
pub fn target_path(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b' ').unwrap_or(0);
    let (method, target) = (&data[..at], &data[(at + 1).min(data.len())..]);
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        let Ok(parsed) = Target::parse(method, target, leniency) else { continue };
        pieces_stand_in_order(target, &parsed);
        match parsed.form {
            TargetForm::Origin | TargetForm::Absolute => {
                assert!(parsed.path.starts_with(b"/") && !parsed.path.starts_with(b"//"), "{}", show(parsed.path));
                assert!(!parsed.path.iter().any(|byte| matches!(byte, b'?' | b'#')), "{}", show(parsed.path));
                assert!(!parsed.query.contains(&b'#'), "{}", show(parsed.query));
                assert_eq!(parsed.form == TargetForm::Absolute, parsed.authority.is_some());
            }
            TargetForm::Asterisk => assert_eq!((method, target), (&b"OPTIONS"[..], &b"*"[..])),
            TargetForm::Authority => assert_eq!((method, parsed.authority), (&b"CONNECT"[..], Some(target))),
        }
        if let Some(authority) = parsed.authority {
            assert!(!authority.is_empty() && host_is_valid(authority), "{}", show(authority));
            assert!(!authority.iter().any(|byte| matches!(byte, b'@' | b'/' | b'\\')), "{}", show(authority));
        }
        decoding(parsed.path);
    }
    decoding(target);
    host(target);
}

/// Each piece is part of the target and stands behind the one before it. Told by addresses: equal bytes may stand in
/// several places.
fn pieces_stand_in_order(target: &[u8], parsed: &Target<'_>) {
    let mut end = 0;
    for piece in [parsed.authority.unwrap_or_default(), parsed.path, parsed.query] {
        let at = (piece.as_ptr() as usize).wrapping_sub(target.as_ptr() as usize);
        if piece.is_empty() {
            continue;
        }
        if at >= target.len() {
            assert_eq!(piece, b"/", "only a path that was left out stands nowhere: {}", show(target));
            continue;
        }
        assert!(end <= at && at + piece.len() <= target.len(), "{} overlaps in {}", show(piece), show(target));
        assert_eq!(piece, &target[at..at + piece.len()]);
        end = at + piece.len();
    }
}

fn decoding(encoded: &[u8]) {
    let decoded = percent_decode(encoded);
    let escapes = encoded
        .windows(3)
        .filter(|window| window[0] == b'%' && window[1].is_ascii_hexdigit() && window[2].is_ascii_hexdigit());
    // Escapes can't overlap: a `%` is no hexadecimal digit.
    assert_eq!(decoded.len(), encoded.len() - 2 * escapes.count(), "{}", show(encoded));
    if !encoded.contains(&b'%') {
        assert_eq!(&decoded[..], encoded);
    }
    if !decoded.contains(&b'%') {
        assert_eq!(percent_decode(&decoded), decoded);
    }
    let again: Vec<u8> = decoded.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect();
    assert_eq!(percent_decode(&again), decoded, "encoding everything and decoding it gives the same");
}

fn host(host: &[u8]) {
    if !host_is_valid(host) {
        return;
    }
    const NEVER: &[u8] = b"/?#@\\\"<>^`{|} \t\r\n\0";
    assert!(host.is_ascii() && !host.iter().any(|byte| NEVER.contains(byte)), "{}", show(host));
    if !host.starts_with(b"[") {
        assert!(host.iter().filter(|&&byte| byte == b':').count() <= 1, "{}", show(host));
    }
    // A valid host is a valid authority, as long as there is a host in it.
    let target = [b"http://", host, b"/x"].concat();
    let parsed = Target::parse(b"GET", &target, Leniency::default());
    let has_name = !host.is_empty() && host[0] != b':';
    assert_eq!(parsed.is_ok_and(|parsed| parsed.authority == Some(host) && parsed.path == b"/x"), has_name);
}
