//! amboss
fn main() {}
