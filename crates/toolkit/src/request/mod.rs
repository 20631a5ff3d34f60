//! [`Request`].
