//! The URL of an application.

use super::error::{EnvironError, EnvironErrorKind};
use crate::http::host_is_valid;

/// The parts of a base URL.
pub(super) struct BaseUrl<'u> {
    pub(super) scheme: &'static str,
    pub(super) authority: &'u str,
    pub(super) host: &'u str,
    pub(super) port: &'u str,
    /// Without a slash at the end.
    pub(super) script_name: &'u str,
}

impl BaseUrl<'_> {
    pub(super) fn parse(url: &str) -> Result<BaseUrl<'_>, EnvironError> {
        let error = || EnvironErrorKind::BaseUrl(url.to_owned());
        let (scheme, rest, default_port) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => ("http", rest, "80"),
            (_, Some(rest)) => ("https", rest, "443"),
            _ => return Err(error().into()),
        };
        let (authority, script_name) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.is_empty() || !host_is_valid(authority.as_bytes()) || script_name.contains(['?', '#']) {
            return Err(error().into());
        }
        // A colon inside of brackets belongs to an IPv6 address.
        let after_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match authority[after_address..].split_once(':') {
            Some((_, port)) if !port.is_empty() => (&authority[..authority.len() - port.len() - 1], port),
            Some(_) => (&authority[..authority.len() - 1], default_port),
            None => (authority, default_port),
        };
        Ok(BaseUrl { scheme, authority, host, port, script_name: script_name.trim_end_matches('/') })
    }
}
