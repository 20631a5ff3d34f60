//! The debugger around the application, and the rule that its pages stay on this machine.

use std::net::IpAddr;
use std::sync::Arc;

use amboss_core::{Address, Application, Listeners, LocalAddr};
use amboss_debugger::{DebugPages, Page, Project};

use crate::error::{RunError, RunErrorKind};
use crate::options::RunOptions;

/// The line that is printed at the start, if other machines may see the pages.
pub(crate) const WARNING: &str =
    " * WARNING: The debugger is on for other machines as well (--debug-anywhere). Everyone \
                                  who can reach this server can read its source code, and with the PIN of a console also \
                                  run code. Stop it when you have finished.";

/// Wraps an application in the debugger, if the options ask for it.
pub(crate) fn wrap(app: Arc<dyn Application>, options: &RunOptions) -> Arc<dyn Application> {
    if !options.use_debugger || options.passthrough_errors || options.settings.passthrough_errors {
        return app;
    }
    let handler = options.request_handler.as_ref().unwrap_or(&options.settings.handler);
    let mut pages = DebugPages::new(app)
        .project(Project::current())
        .page(Page::from_env())
        .allow_remote(options.debug_anywhere)
        .request_handler(handler.clone())
        .log(options.settings.log.clone());
    if let Some(explain) = &options.explain_error {
        pages = pages.explain(explain.clone());
    }
    Arc::new(pages)
}

/// Checks that other machines can't reach the addresses, unless the options allow it. Descriptors are checked when they
/// are known as sockets.
///
/// # Errors
/// The first address that other machines can reach.
pub(crate) fn check_addresses(options: &RunOptions, addresses: &[Address]) -> Result<(), RunError> {
    let is_local = |address: &&Address| match address {
        Address::Tcp { host, .. } => is_local_host(host),
        Address::Unix(_) | Address::Fd(_) => true,
        _ => false,
    };
    refuse(options, addresses.iter().find(|address| !is_local(address)))
}

/// Checks that other machines can't reach the sockets, unless the options allow it.
///
/// # Errors
/// The first address that other machines can reach.
pub(crate) fn check_listeners(options: &RunOptions, listeners: &Listeners) -> Result<(), RunError> {
    let addresses = listeners.local_addrs();
    let is_local = |address: &&LocalAddr| match address {
        LocalAddr::Tcp(address) => address.ip().to_canonical().is_loopback(),
        LocalAddr::Unix(_) => true,
        _ => false,
    };
    refuse(options, addresses.iter().find(|address| !is_local(address)))
}

fn refuse(options: &RunOptions, reachable: Option<&impl std::fmt::Display>) -> Result<(), RunError> {
    match reachable {
        Some(address) if options.use_debugger && !options.debug_anywhere => Err(RunErrorKind::Options(
            format!(
                "the debugger's pages show source code, and other machines can reach {address}; listen on localhost, or \
                 add --debug-anywhere (debug_anywhere) if everyone there may see it"
            )
            .into(),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Whether a host stands for this machine alone. Any other name is not trusted to do so: what it stands for depends on
/// the network.
fn is_local_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_other_machines_can_reach_are_refused() {
        let mut options = RunOptions { use_debugger: true, ..RunOptions::default() };
        for (address, is_local) in [
            ("127.0.0.1:0", true),
            ("127.8.9.10:0", true),
            ("localhost:0", true),
            ("API.localhost:0", true),
            ("[::1]:0", true),
            ("[::ffff:127.0.0.1]:0", true),
            ("unix:///tmp/a", true),
            ("fd://3", true),
            ("0.0.0.0:0", false),
            ("*:0", false),
            ("[::]:0", false),
            ("192.168.1.7:0", false),
            ("[fe80::1]:0", false),
            ("example.org:0", false),
            ("localhost.example.org:0", false),
        ] {
            let addresses = ["localhost:0", address].map(|text| text.parse().unwrap());
            options.debug_anywhere = false;
            match check_addresses(&options, &addresses) {
                Ok(()) => assert!(is_local, "{address}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!is_local && text.contains("--debug-anywhere") && text.contains("localhost"), "{text}");
                }
            }
            options.debug_anywhere = true;
            check_addresses(&options, &addresses).unwrap();
        }
        check_addresses(&RunOptions::default(), &["0.0.0.0:0".parse().unwrap()]).unwrap();
    }

    #[test]
    fn sockets_that_other_machines_can_reach_are_refused() {
        let options = RunOptions { use_debugger: true, ..RunOptions::default() };
        for (address, is_local) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
            let listeners = Listeners::bind(&[address.parse().unwrap()], &options.settings).unwrap();
            assert_eq!(check_listeners(&options, &listeners).is_ok(), is_local, "{address}");
        }
    }
}
