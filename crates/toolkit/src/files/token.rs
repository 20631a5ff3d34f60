//! Random tokens: boundaries of multipart bodies and nonces of pages.

use std::hash::{BuildHasher, RandomState};

/// Makes 32 hexadecimal digits that can't be predicted: hashes under keys that std takes from the system.
pub(super) fn random_token() -> String {
    let half = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_differ() {
        let tokens: std::collections::HashSet<_> = (0..100).map(|_| super::random_token()).collect();
        assert!(tokens.len() == 100 && tokens.iter().all(|token| token.len() == 32));
    }
}
