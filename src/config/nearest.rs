//! Suggestions for misspelt names.

/// How similar a suggestion has to be, from 0 to 1. clap uses the same number for flags.
const SIMILARITY: f64 = 0.7;

/// Returns the name that is most similar to a misspelt one.
pub(crate) fn nearest(misspelt: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    // Names that share a long beginning are similar, so the part behind the underscore of a prefix is compared alone.
    let bare = |name: &str| name.strip_prefix("AMBOSS_").unwrap_or(name).to_lowercase().replace('_', "-");
    let misspelt = bare(misspelt);
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&misspelt, &bare(&name)), name));
    scored.filter(|(score, _)| *score > SIMILARITY).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}
