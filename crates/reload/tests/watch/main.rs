//! The watch, over real folders, with both back-ends.
//!
//! - `added`: files that are added while it runs
//! - `table`: what is reported and what isn't, one table for both back-ends
//! - `life`: bursts, roots that go and come back, wake-ups, folders above that are renamed
//! - `limits`: what happens when the system gives no events
//! - `tools`: saves by real editors, a checkout by git
//! - `support`: the folder under watch
//!
//! Nothing here sleeps to be sure that nothing is reported: a last file is written, and until it is reported nothing
//! unexpected may have been.

mod added;
mod life;
mod limits;
mod support;
mod table;
mod tools;
