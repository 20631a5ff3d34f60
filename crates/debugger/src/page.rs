//! [`Page`]: the settings of a page.

use std::time::Duration;

use crate::editor::Editor;

/// The settings of a page, and the way from a report to a response.
///
/// ```
/// use amboss_debugger::{negotiate, FailureReport, Page, Project};
///
/// let report = FailureReport::from_output("It can't be built", b"error: no anvil\n", &Project::current());
/// let rendered = Page::default().render(&report, negotiate(b"text/html"));
/// assert!(rendered.body.contains("<h1>error: no anvil</h1>"));
/// assert!(rendered.fields.contains(&("Cache-Control", "no-store".to_owned())));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub(crate) editor: Editor,
    pub(crate) poll: Option<Duration>,
    pub(crate) live_reload: bool,
}

impl Page {
    /// Makes the settings from the environment: the editor is that of `AMBOSS_EDITOR`.
    pub fn from_env() -> Page {
        Page { editor: Editor::from_env(), ..Page::default() }
    }

    /// Sets the editor that the links open.
    #[must_use]
    pub fn editor(mut self, editor: Editor) -> Page {
        self.editor = editor;
        self
    }

    /// Makes the page request itself at this interval. It reloads when the status of the response is not 503, or when the
    /// response is the page of another failure.
    #[must_use]
    pub fn poll(mut self, interval: Duration) -> Page {
        self.poll = Some(interval);
        self
    }

    /// Allows the script of a live reload, which is added to the page on the way to the client, to load from the server
    /// and to connect to it.
    #[must_use]
    pub fn live_reload(mut self, live_reload: bool) -> Page {
        self.live_reload = live_reload;
        self
    }
}
