//! Storage for collected request bodies: memory up to a limit, an unnamed temporary file beyond it.
//!
//! A [`BodyStore`] takes the bytes of one body as they arrive. When [`needs_write`](BodyStore::needs_write) is true, its
//! memory has to be written to the file with [`write_out`](BodyStore::write_out). That may block, so the connection does
//! it outside of the event loop, in the same way as it calls the application. A [`CollectedBody`] reads a complete body.
//! A [`BodyBudget`] bounds what the bodies of all connections of a server take.

mod budget;
mod collected;
mod error;
mod memory;
mod store;
mod temporary_file;

pub(super) use budget::BodyBudget;
pub(super) use collected::CollectedBody;
pub(super) use error::StoreError;
pub(super) use store::BodyStore;
