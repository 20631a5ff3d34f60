//! Prefixes of the paths of requests.

/// Whether the decoded path of a request can begin with this prefix: `/`, or plain names with one slash in front of
/// each. Slashes at the end have no meaning.
pub(crate) fn can_match(prefix: &str) -> bool {
    let is_name = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['?', '#', '\\', '\0']);
    let segments = prefix.trim_end_matches('/').strip_prefix('/');
    prefix.starts_with('/') && segments.is_none_or(|segments| segments.split('/').all(is_name))
}
