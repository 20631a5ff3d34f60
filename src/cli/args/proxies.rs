//! The flags for servers behind proxies.

use clap::{Args, ValueEnum};

use crate::{ForwardedHops, ProxyProtocol, ProxySettings, TrustedPeers};

/// The flags for servers behind proxies.
#[derive(Args, Debug)]
#[command(next_help_heading = "Proxies")]
pub(super) struct ProxyArgs {
    /// Proxies to trust, separated by commas: addresses, networks as 10.0.0.0/8, unix: for Unix sockets, * for everyone
    /// [default: 127.0.0.0/8,::1,unix:]
    #[arg(long, value_name = "LIST", env = "FORWARDED_ALLOW_IPS", hide_env_values = true)]
    forwarded_allow_ips: Option<TrustedPeers>,

    /// Number of trusted proxies that set each X-Forwarded field; 0 ignores the field [default:
    /// for=1,proto=1,host=0,port=0,prefix=0]
    #[arg(long, value_name = "FIELD=N,...")]
    forwarded_hops: Option<ForwardedHops>,

    /// Read the Forwarded field (RFC 7239) instead of X-Forwarded fields
    #[arg(long)]
    forwarded_rfc7239: bool,

    /// Read the client's address from a PROXY protocol header, version 1 or 2, in front of each connection from a trusted
    /// proxy. X-Forwarded fields are then believed only if that address is one of a trusted proxy as well
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "required")]
    proxy_protocol: Option<Header>,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Header {
    /// Connections without a header are closed
    Required,
    /// Connections may begin without a header
    Optional,
}

impl ProxyArgs {
    /// Copies the flags into the settings.
    pub(super) fn apply(&self, settings: &mut ProxySettings) {
        if let Some(trusted) = &self.forwarded_allow_ips {
            settings.trusted = trusted.clone();
        }
        settings.hops = self.forwarded_hops.unwrap_or_default();
        settings.forwarded = self.forwarded_rfc7239;
        settings.protocol = match self.proxy_protocol {
            None => ProxyProtocol::Off,
            Some(Header::Required) => ProxyProtocol::Required,
            Some(Header::Optional) => ProxyProtocol::Optional,
        };
    }

    /// Returns the flags, each with whether it was given. The list of trusted proxies is not among them, because it may
    /// come from the environment.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn given(&self) -> [(bool, &'static str); 3] {
        [
            (self.forwarded_hops.is_some(), "--forwarded-hops"),
            (self.forwarded_rfc7239, "--forwarded-rfc7239"),
            (self.proxy_protocol.is_some(), "--proxy-protocol"),
        ]
    }
}
