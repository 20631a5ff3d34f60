//! amboss
