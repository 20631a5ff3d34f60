//! The name in a Host field.

/// Removes the port from a host. The colons of an IPv6 address are inside of brackets.
pub(super) fn host_name(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    }
}
