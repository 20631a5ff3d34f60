//! Conditional requests, ranges and entity tags (RFC 9110 §8.8, §13 and §14).
