//! One body on its way from the socket to the application.

use std::path::Path;
use std::sync::Arc;

use super::budget::BodyBudget;
use super::error::StoreError;
use super::temporary_file::TemporaryFile;
use crate::server::handover::StoredBody;
use crate::server::settings::Limits;
use crate::wsgi::Collected;

/// The initial size of a body's memory, in bytes. It grows slowly while few bytes have arrived, so that slow clients take
/// little memory, and faster later, so that little is copied.
const INITIAL_SIZE: usize = 1024;
/// The size from which the memory grows faster, in bytes.
const FASTER_FROM: usize = 16 * 1024;
/// The size at which a body of known length gets memory for all of it, in bytes.
const WHOLE_FROM: usize = 256 * 1024;
/// How many bytes are written to a file at a time. The system call then costs little compared with the copying, and the
/// block fits into a processor's cache.
const WRITE_BLOCK: usize = 256 * 1024;
/// How many bytes are written at a time while all bodies together have reached their memory limit.
const SMALL_BLOCK: usize = 16 * 1024;

/// The bytes of one request body, complete or still arriving.
#[derive(Debug)]
pub(in crate::server) struct BodyStore {
    budget: Arc<BodyBudget>,
    /// `memory[..filled]` are bytes of the body. They follow those in the file, if there is one.
    memory: Vec<u8>,
    filled: usize,
    /// The length of the whole body in bytes, if the head has declared it.
    length: Option<u64>,
    file: Option<TemporaryFile>,
}

impl BodyStore {
    /// Makes an empty store. `length` is the length of the whole body in bytes, if it is known.
    pub(in crate::server) fn new(budget: Arc<BodyBudget>, length: Option<u64>) -> BodyStore {
        BodyStore { budget, memory: Vec::new(), filled: 0, length, file: None }
    }

    /// Adopts a body that another process has collected.
    pub(in crate::server) fn adopt(budget: Arc<BodyBudget>, StoredBody { file, length }: StoredBody) -> BodyStore {
        budget.add_file_bytes(length);
        let file = Some(TemporaryFile::new(file, length));
        BodyStore { budget, memory: Vec::new(), filled: 0, length: Some(length), file }
    }

    /// Returns the file of a complete body, for another process; `None` if the body was not written out.
    pub(in crate::server) fn into_file(mut self) -> Option<StoredBody> {
        let (file, length) = self.file.take()?.into_parts();
        self.budget.release_file_bytes(length);
        Some(StoredBody { file, length })
    }

    /// Whether the memory has to be written to the file before more bytes can be taken.
    pub(in crate::server) fn needs_write(&self, limits: &Limits) -> bool {
        let has_block = self.file.is_some() && self.filled >= WRITE_BLOCK;
        let is_full = self.filled > 0 && self.filled == self.memory.len();
        has_block || is_full && self.next_size(limits).is_none()
    }

    /// Whether a complete body has bytes in memory that belong behind those in the file.
    pub(in crate::server) fn has_unwritten_rest(&self) -> bool {
        self.file.is_some() && self.filled > 0
    }

    /// Returns the next size of the memory; `None` at the limit for one body or for all bodies.
    fn next_size(&self, limits: &Limits) -> Option<usize> {
        let size = self.memory.len();
        let below_total_limit = self.budget.memory.in_use() < limits.bodies_memory;
        let max_size = if self.will_use_file(limits) { WRITE_BLOCK } else { limits.body_memory };
        let whole = self.length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let next = match self.file {
            Some(_) if below_total_limit => WRITE_BLOCK,
            Some(_) => SMALL_BLOCK,
            // The first bytes of a body always get memory, whatever other bodies take.
            None if !below_total_limit && size > 0 => return None,
            None if size >= WHOLE_FROM && self.length.is_some() => whole,
            None if (FASTER_FROM..WHOLE_FROM).contains(&size) => size * 16,
            None => size * 4,
        };
        let next = next.clamp(INITIAL_SIZE, max_size.min(whole).max(INITIAL_SIZE));
        (next > size).then_some(next)
    }

    /// Whether the body is known to be too long for memory.
    fn will_use_file(&self, limits: &Limits) -> bool {
        self.file.is_some() || self.length.is_some_and(|length| length > limits.body_memory as u64)
    }

    /// Moves the bytes to memory of at least `size` bytes.
    fn grow(&mut self, size: usize) {
        let mut memory = self.budget.memory.acquire(size);
        memory[..self.filled].copy_from_slice(&self.memory[..self.filled]);
        self.budget.memory.release(std::mem::replace(&mut self.memory, memory));
    }

    /// Returns space for at most `wanted` more bytes; it is empty when a write is needed first.
    pub(in crate::server) fn spare_capacity(&mut self, wanted: u64, limits: &Limits) -> &mut [u8] {
        if self.filled == self.memory.len() {
            if let Some(next) = self.next_size(limits) {
                self.grow(next);
            }
        }
        let end = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_add(self.filled).min(self.memory.len());
        &mut self.memory[self.filled..end]
    }

    /// Counts bytes that the caller has put into the space that [`room`](BodyStore::room) returned.
    pub(in crate::server) fn fill(&mut self, count: usize) {
        self.filled += count;
        debug_assert!(self.filled <= self.memory.len());
    }

    /// Copies bytes that are in a read buffer already. Exceeds the memory limits if it has to.
    pub(in crate::server) fn append(&mut self, bytes: &[u8], limits: &Limits) {
        let needed = self.filled + bytes.len();
        if self.memory.len() < needed {
            self.grow(needed.max(self.next_size(limits).unwrap_or(0)));
        }
        self.memory[self.filled..needed].copy_from_slice(bytes);
        self.filled = needed;
    }

    /// Appends the bytes in memory to the file, which it creates if there is none. Blocks.
    pub(in crate::server) fn write_out(&mut self, directory: Option<&Path>, limits: &Limits) -> Result<(), StoreError> {
        let count = self.filled as u64;
        if !self.budget.reserve_file_bytes(count, limits.body_files) {
            return Err(StoreError::Full(limits.body_files));
        }
        let mut write = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(TemporaryFile::create(directory)?),
            };
            file.append(&self.memory[..self.filled], directory)
        };
        if let Err(error) = write() {
            self.budget.release_file_bytes(count);
            return Err(error);
        }
        self.filled = 0;
        if self.memory.len() > WRITE_BLOCK {
            self.free_memory();
        }
        Ok(())
    }

    /// Releases the memory of a body that has been written to the file.
    pub(in crate::server) fn free_memory(&mut self) {
        if self.file.is_some() {
            self.budget.memory.release(std::mem::take(&mut self.memory));
        }
    }

    /// Whether the body has a file. Closing it, when the store is dropped, may take long.
    pub(in crate::server) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the complete body.
    pub(super) fn collected(&self) -> Collected<'_> {
        match &self.file {
            Some(file) => Collected::File { file: &file.file, range: 0..file.length },
            None => Collected::Bytes(&self.memory[..self.filled]),
        }
    }
}

impl Drop for BodyStore {
    fn drop(&mut self) {
        self.budget.memory.release(std::mem::take(&mut self.memory));
        if let Some(file) = &self.file {
            self.budget.release_file_bytes(file.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::collected::{CollectedBody, READ_BLOCK};
    use super::*;
    use crate::wsgi::{Input, Source};

    fn limits() -> Limits {
        Limits { body_memory: 4096, bodies_memory: 10_000, body_files: 1 << 20, ..Limits::default() }
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    /// Stores bytes in one of the two ways that a connection uses: it appends pieces, or it reads into the store's
    /// space.
    fn store(budget: &Arc<BodyBudget>, body: &[u8], piece: usize, appended: bool) -> BodyStore {
        let mut store = BodyStore::new(budget.clone(), None);
        let mut rest = body;
        while !rest.is_empty() {
            if store.needs_write(&limits()) {
                store.write_out(None, &limits()).unwrap();
            }
            let count = if appended {
                store.append(&rest[..piece.min(rest.len())], &limits());
                piece.min(rest.len())
            } else {
                let room = store.spare_capacity(rest.len() as u64, &limits());
                let count = room.len().min(piece);
                assert!(count > 0, "a write makes space");
                room[..count].copy_from_slice(&rest[..count]);
                store.fill(count);
                count
            };
            rest = &rest[count..];
        }
        if store.has_unwritten_rest() {
            store.write_out(None, &limits()).unwrap();
        }
        store.free_memory();
        store
    }

    #[test]
    fn bodies_of_all_sizes_are_read_back_unchanged() {
        let budget = BodyBudget::new(&limits());
        for length in [1, 1023, 1024, 4096, 4097, 70_000, 700_000] {
            for (piece, appended) in [(1000, false), (100_000, false), (1000, true), (16_384, true)] {
                let body = pattern(length);
                let store = store(&budget, &body, piece, appended);
                if !appended {
                    assert_eq!(store.has_file(), length > 4096, "{length} bytes");
                }
                let mut source = CollectedBody::of_store(&store);
                let mut read = Vec::new();
                Input::new(&mut source).read_to_end(&mut read).unwrap();
                assert!(read == body, "{length} bytes in pieces of {piece} differ");
                let mut source = CollectedBody::of_store(&store);
                let (mut read, mut input) = (Vec::new(), Input::new(&mut source));
                for size in [10, READ_BLOCK, 100, READ_BLOCK - 1, 3 * READ_BLOCK].into_iter().cycle() {
                    let mut buffer = vec![0; size];
                    match input.read(&mut buffer).unwrap() {
                        0 => break,
                        count => read.extend_from_slice(&buffer[..count]),
                    }
                }
                assert!(read == body, "{length} bytes read by pieces differ");
                match source.collected().unwrap() {
                    Collected::Bytes(bytes) => assert!(bytes == body),
                    Collected::File { range, .. } => assert_eq!(range, 0..length as u64),
                }
            }
        }
        assert_eq!(budget.usage(), (0, 0), "a dropped store releases what it has taken");
    }

    #[test]
    fn memory_grows_with_the_bytes_received_and_not_with_the_space_asked_for() {
        let budget = BodyBudget::new(&limits());
        let mut store = BodyStore::new(budget.clone(), None);
        for _ in 0..100 {
            store.spare_capacity(1 << 30, &limits())[0] = b'x';
            store.fill(1);
        }
        assert!(budget.usage().0 <= 1024, "{:?}", budget.usage());
    }

    #[test]
    fn a_body_in_a_file_uses_one_block_of_memory() {
        let limits = Limits { body_memory: 4 * WRITE_BLOCK, ..Limits::default() };
        let budget = BodyBudget::new(&limits);
        // The first body has a known length, the second has not.
        for length in [Some(5 * WRITE_BLOCK as u64), None] {
            let mut store = BodyStore::new(budget.clone(), length);
            let (mut stored, mut largest) = (0, 0);
            while stored < 5 * WRITE_BLOCK {
                if store.needs_write(&limits) {
                    store.write_out(None, &limits).unwrap();
                }
                let count = store.spare_capacity((5 * WRITE_BLOCK - stored) as u64, &limits).len();
                store.fill(count);
                stored += count;
                largest = largest.max(store.memory.len());
            }
            assert_eq!(largest, if length.is_some() { WRITE_BLOCK } else { limits.body_memory });
            assert_eq!(store.memory.len(), WRITE_BLOCK);
        }
    }

    #[test]
    fn a_body_of_known_length_gets_memory_for_all_of_it_once_256_kib_have_arrived() {
        let limits = Limits::default();
        let budget = BodyBudget::new(&limits);
        let mut store = BodyStore::new(budget.clone(), Some(10 << 20));
        let mut sizes = Vec::new();
        while store.filled < 10 << 20 {
            let count = store.spare_capacity(u64::MAX, &limits).len();
            store.fill(count);
            sizes.push(store.memory.len());
        }
        assert_eq!(sizes, [1 << 10, 4 << 10, 16 << 10, 256 << 10, 10 << 20]);
        assert_eq!(budget.usage(), (10 << 20, 0));
    }

    #[test]
    fn beyond_the_total_memory_limit_bodies_go_to_files_and_beyond_the_file_limit_they_fail() {
        let budget = BodyBudget::new(&limits());
        let stores: Vec<_> = (0..4).map(|_| store(&budget, &pattern(4000), 4000, false)).collect();
        assert!(stores.iter().any(BodyStore::has_file), "{:?}", budget.usage());
        let mut last = BodyStore::new(budget.clone(), None);
        while budget.usage().0 < limits().bodies_memory {
            last.append(&pattern(1000), &limits());
        }
        assert!(
            !BodyStore::new(budget.clone(), None).spare_capacity(1, &limits()).is_empty(),
            "the first bytes of a body get memory in any case"
        );
        let mut small = store(&budget, &pattern(100_000), 100_000, false);
        small.spare_capacity(1 << 20, &limits());
        assert_eq!(small.memory.len(), SMALL_BLOCK, "a body in a file uses a small block when memory is exhausted");
        drop((last, small));
        let mut large = store(&budget, &pattern(1_000_000), 100_000, false);
        large.append(&pattern(100_000), &limits());
        assert!(matches!(large.write_out(None, &limits()), Err(StoreError::Full(_))));
        let before = budget.usage().1;
        drop(large);
        assert_eq!(budget.usage().1, before - 1_000_000);
    }

    #[test]
    fn the_error_names_a_directory_that_cannot_be_written() {
        let budget = BodyBudget::new(&limits());
        let mut store = BodyStore::new(budget.clone(), None);
        store.append(b"x", &limits());
        let error = store.write_out(Some(Path::new("/no/such/directory")), &limits()).unwrap_err();
        assert!(error.to_string().contains("/no/such/directory") && error.to_string().contains("body_directory"));
        assert_eq!(budget.usage().1, 0);
    }
}
