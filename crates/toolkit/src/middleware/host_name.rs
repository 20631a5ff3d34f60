//! Names of hosts: in a Host field, and in the settings of middleware.

use std::fmt;
use std::net::IpAddr;

/// Removes the port from a host. The colons of an IPv6 address are inside of brackets.
pub(super) fn host_name(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    }
}

/// The IP address that a host is, with or without the brackets of an IPv6 address.
pub(super) fn ip_address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Checks that a text is the name of a host, an IP address, or `*.` and a name, which stands for all names below it.
///
/// ```
/// use amboss_toolkit::middleware::check_host;
/// assert!(check_host("*.example.org").is_ok() && check_host("[::1]").is_ok());
/// assert!(check_host("example.org:8000").unwrap_err().to_string().contains("without a scheme and a port"));
/// ```
///
/// # Errors
/// A text that is none of these, such as one with a port.
pub fn check_host(host: &str) -> Result<(), HostError> {
    normalized_host(host).map(drop)
}

/// The text in lower case and without a dot at its end; a pattern begins with a dot.
pub(super) fn normalized_host(host: &str) -> Result<String, HostError> {
    let name = host.strip_prefix('*').unwrap_or(host);
    let bare = if name.len() < host.len() { name.strip_prefix('.').unwrap_or_default() } else { name };
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_ip = ip_address(host).is_some();
    if !is_ip && !bare.split('.').all(is_label) {
        return Err(HostError { host: host.to_owned(), is_taken: false });
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    Ok(if is_ip && name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name })
}

/// A host that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    pub(super) host: String,
    pub(super) is_taken: bool,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        if self.is_taken {
            return write!(f, "there are two applications for the host {host:?}; leave out one of them");
        }
        write!(f, "{host:?} is not the name of a host: give a name without a scheme and a port")?;
        if host.is_ascii() {
            f.write_str(", as in api.localhost or *.example.org")
        } else {
            f.write_str(", as browsers send it: xn--mnchen-3ya.example for m\u{fc}nchen.example")
        }
    }
}

impl std::error::Error for HostError {}
