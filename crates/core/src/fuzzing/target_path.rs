//! `target_path`: a request-target has one path, which begins with exactly one slash.

use super::input::escape;
use crate::http::{host_is_valid, percent_decode, Leniency, Target, TargetForm};

/// Parses a target. The input is a method, a space and a target.
///
/// - [`Target::parse`], [`percent_decode`] and [`host_is_valid`] do not panic.
/// - In origin-form and absolute-form, the path begins with exactly one `/` and contains no `?` and no `#`.
/// - Authority, path and query are parts of the target, in this order and without overlap.
/// - An authority is a valid Host and has no user information.
/// - Decoding changes nothing if there is no `%`, never makes the text longer, and is the inverse of encoding.
pub fn target_path(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b' ').unwrap_or(0);
    let (method, target) = (&data[..at], &data[(at + 1).min(data.len())..]);
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        let Ok(parsed) = Target::parse(method, target, leniency) else { continue };
        check_order_of_parts(target, &parsed);
        match parsed.form {
            TargetForm::Origin | TargetForm::Absolute => {
                assert!(parsed.path.starts_with(b"/") && !parsed.path.starts_with(b"//"), "{}", escape(parsed.path));
                assert!(!parsed.path.iter().any(|byte| matches!(byte, b'?' | b'#')), "{}", escape(parsed.path));
                assert!(!parsed.query.contains(&b'#'), "{}", escape(parsed.query));
                assert_eq!(parsed.form == TargetForm::Absolute, parsed.authority.is_some());
            }
            TargetForm::Asterisk => assert_eq!((method, target), (&b"OPTIONS"[..], &b"*"[..])),
            TargetForm::Authority => assert_eq!((method, parsed.authority), (&b"CONNECT"[..], Some(target))),
        }
        if let Some(authority) = parsed.authority {
            assert!(!authority.is_empty() && host_is_valid(authority), "{}", escape(authority));
            assert!(!authority.iter().any(|byte| matches!(byte, b'@' | b'/' | b'\\')), "{}", escape(authority));
        }
        check_decoding(parsed.path);
    }
    check_decoding(target);
    check_host(target);
}

/// Checks that each part lies in the target, after the part before it. Compares addresses, since equal bytes may occur
/// in several places.
fn check_order_of_parts(target: &[u8], parsed: &Target<'_>) {
    let mut end = 0;
    for part in [parsed.authority.unwrap_or_default(), parsed.path, parsed.query] {
        let at = (part.as_ptr() as usize).wrapping_sub(target.as_ptr() as usize);
        if part.is_empty() {
            continue;
        }
        if at >= target.len() {
            assert_eq!(part, b"/", "a part that is not a default path lies outside of the target: {}", escape(target));
            continue;
        }
        assert!(end <= at && at + part.len() <= target.len(), "{} overlaps in {}", escape(part), escape(target));
        assert_eq!(part, &target[at..at + part.len()]);
        end = at + part.len();
    }
}

fn check_decoding(encoded: &[u8]) {
    let decoded = percent_decode(encoded);
    let escapes = encoded
        .windows(3)
        .filter(|window| window[0] == b'%' && window[1].is_ascii_hexdigit() && window[2].is_ascii_hexdigit());
    // Escapes can't overlap, since `%` is not a hexadecimal digit.
    assert_eq!(decoded.len(), encoded.len() - 2 * escapes.count(), "{}", escape(encoded));
    if !encoded.contains(&b'%') {
        assert_eq!(&decoded[..], encoded);
    }
    if !decoded.contains(&b'%') {
        assert_eq!(percent_decode(&decoded), decoded);
    }
    let again: Vec<u8> = decoded.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect();
    assert_eq!(percent_decode(&again), decoded, "encoding every byte and decoding it gives another text");
}

fn check_host(host: &[u8]) {
    if !host_is_valid(host) {
        return;
    }
    const NEVER: &[u8] = b"/?#@\\\"<>^`{|} \t\r\n\0";
    assert!(host.is_ascii() && !host.iter().any(|byte| NEVER.contains(byte)), "{}", escape(host));
    if !host.starts_with(b"[") {
        assert!(host.iter().filter(|&&byte| byte == b':').count() <= 1, "{}", escape(host));
    }
    // A valid Host is a valid authority, if its host is not empty.
    let target = [b"http://", host, b"/x"].concat();
    let parsed = Target::parse(b"GET", &target, Leniency::default());
    let has_name = !host.is_empty() && host[0] != b':';
    assert_eq!(parsed.is_ok_and(|parsed| parsed.authority == Some(host) && parsed.path == b"/x"), has_name);
}
