//! The path of a request before it is an environ, for [`Application::is_immediate`](amboss_core::Application::is_immediate).

use std::borrow::Cow;

use amboss_core::http::{percent_decode, Head, Leniency, Target};

/// The percent-decoded path, as `call` finds it in `PATH_INFO`: of an absolute URI as well, and with one slash at its
/// start. `None` if the target is malformed.
pub(crate) fn decoded_path<'a>(head: &Head<'a>) -> Option<Cow<'a, [u8]>> {
    Some(percent_decode(Target::of(head, Leniency::default()).ok()?.path))
}
