//! A watch over real folders, with both back-ends.
//!
//! - `added`: files that are added while the watch runs
//! - `table`: which changes are reported, in one table for both back-ends
//! - `lifecycle`: bursts, roots that disappear and come back, wake-ups, parent folders that are renamed
//! - `limits`: what happens when the system reports no events
//! - `tools`: saves by real editors, a checkout by git
//! - `support`: the watched folder
//!
//! No test sleeps to make sure that nothing is reported. Instead it writes a last file, and nothing unexpected may be
//! reported before that file.

mod added;
mod lifecycle;
mod limits;
mod support;
mod table;
mod tools;
