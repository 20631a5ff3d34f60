//! An option of another server, as data: its names, and what becomes of it.

/// Why options of HTTP/2 have no counterpart.
pub(super) const HTTP2: &str = "amboss speaks HTTP/1.1; a proxy such as nginx in front of it speaks HTTP/2";

/// Why options of uWSGI's protocol have no counterpart.
pub(super) const UWSGI: &str =
    "amboss speaks HTTP and not the protocol of uWSGI: in nginx, proxy_pass takes the place of uwsgi_pass";

/// An option of another server. `D` is the configuration that is made from it.
pub(crate) struct PeerOption<D: 'static> {
    /// Its names: flags with their dashes, and keys of a configuration file.
    pub(crate) names: &'static [&'static str],
    pub(crate) takes: Takes,
    pub(crate) becomes: Becomes<D>,
}

/// Whether an option has a value on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value,
}

/// What becomes of an option.
pub(crate) enum Becomes<D: 'static> {
    /// The setting with this name, with the same value.
    Same(&'static str),
    /// Settings that follow from the value.
    Converted(&'static str, fn(&mut D, &[String])),
    /// Nothing, because amboss does this anyway or needs no such option: the reason.
    NotNeeded(&'static str),
    /// Nothing, because amboss has no counterpart: the reason, and what to do.
    Nothing(&'static str),
}

impl<D> PeerOption<D> {
    const fn new(names: &'static [&'static str], takes: Takes, becomes: Becomes<D>) -> PeerOption<D> {
        PeerOption { names, takes, becomes }
    }

    /// An option with a value that means the same as a setting.
    pub(super) const fn same(names: &'static [&'static str], setting: &'static str) -> PeerOption<D> {
        PeerOption::new(names, Takes::Value, Becomes::Same(setting))
    }

    /// A switch that means the same as a setting.
    pub(super) const fn switch(names: &'static [&'static str], setting: &'static str) -> PeerOption<D> {
        PeerOption::new(names, Takes::Nothing, Becomes::Same(setting))
    }

    /// An option with a value that has to be converted; `setting` is the name of what it becomes.
    pub(super) const fn converted(
        names: &'static [&'static str],
        setting: &'static str,
        convert: fn(&mut D, &[String]),
    ) -> PeerOption<D> {
        PeerOption::new(names, Takes::Value, Becomes::Converted(setting, convert))
    }

    pub(super) const fn not_needed(
        names: &'static [&'static str],
        takes: Takes,
        reason: &'static str,
    ) -> PeerOption<D> {
        PeerOption::new(names, takes, Becomes::NotNeeded(reason))
    }

    pub(super) const fn nothing(names: &'static [&'static str], takes: Takes, reason: &'static str) -> PeerOption<D> {
        PeerOption::new(names, takes, Becomes::Nothing(reason))
    }

    /// Makes the option a switch.
    pub(super) const fn without_value(mut self) -> PeerOption<D> {
        self.takes = Takes::Nothing;
        self
    }

    /// Says in one sentence what to use here instead.
    pub(super) fn advice(&self) -> String {
        match self.becomes {
            Becomes::Same(setting) | Becomes::Converted(setting, _) => format!("amboss calls it --{setting}"),
            Becomes::NotNeeded(reason) => format!("leave it out: {reason}"),
            Becomes::Nothing(reason) => reason.into(),
        }
    }
}
