//! Where a collected request body is kept: in memory up to a bound, in a temporary file without a name beyond it.
//!
//! A [`BodyStore`] takes the bytes of one body as they arrive. When [`needs_write`](BodyStore::needs_write) says so, its
//! memory has to be written to the file with [`write_out`](BodyStore::write_out), which may block: the connection does
//! that outside of the event loop, as it calls the application. A [`BodyBudget`] bounds what all bodies of a server take.

mod memory;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::handover::StoredBody;
use super::io::fork_guard::ForkGuard;
use super::settings::Limits;
use super::sys;
use crate::wsgi::{Collected, Source};
use memory::BodyMemory;

/// The memory that a body begins with. It grows little by little while few bytes have come, so that slow clients take
/// little, and faster later, so that little is copied.
const FIRST_SIZE: usize = 1024;
/// From this size on the memory grows faster.
const FASTER_FROM: usize = 16 * 1024;
/// A body of known length that has come so far gets the memory for all of it.
const WHOLE_FROM: usize = 256 * 1024;
/// What is written to a file at once: large enough that a system call costs nothing beside the copying, and small enough
/// for a processor's cache.
const WRITE_BLOCK: usize = 256 * 1024;
/// The same when all bodies together take as much memory as they may.
const SMALL_BLOCK: usize = 16 * 1024;
/// What is read from a file at once.
const READ_BLOCK: usize = 64 * 1024;

/// What the collected bodies of all connections of a server take, in bytes.
#[derive(Debug)]
pub(super) struct BodyBudget {
    pub(super) memory: BodyMemory,
    files: AtomicU64,
}

impl BodyBudget {
    pub(super) fn new(limits: &Limits) -> Arc<BodyBudget> {
        Arc::new(BodyBudget { memory: BodyMemory::new(limits.bodies_memory), files: AtomicU64::new(0) })
    }

    fn reserve_file(&self, amount: u64, limit: u64) -> bool {
        self.files
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                taken.checked_add(amount).filter(|&sum| sum <= limit)
            })
            .is_ok()
    }
}

/// Why a body can't be kept.
#[derive(Debug)]
pub(super) enum StoreError {
    /// All bodies together would take more than the limit on files, in bytes.
    Full(u64),
    /// The temporary file can't be created or written.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Full(limit) => write!(
                f,
                "request bodies in temporary files would take more than {limit} bytes in all (limits.body_files)"
            ),
            StoreError::Io(directory, error) => write!(
                f,
                "can't keep a request body in a temporary file in {}: {error} (body_directory is the setting)",
                directory.display()
            ),
        }
    }
}

/// A temporary file, which a process that the application forks does not keep.
#[derive(Debug)]
struct TemporaryFile {
    /// In front of the file, whose number is somebody else's once it is closed.
    _fork_guard: ForkGuard,
    file: File,
    length: u64,
}

/// The bytes of one request body, complete or still arriving.
#[derive(Debug)]
pub(super) struct BodyStore {
    budget: Arc<BodyBudget>,
    /// `memory[..filled]` are bytes of the body; behind those in the file, if there is one.
    memory: Vec<u8>,
    filled: usize,
    /// Bytes of the whole body, where the head has told.
    length: Option<u64>,
    file: Option<TemporaryFile>,
}

impl BodyStore {
    /// For a body of so many bytes, or of a number that nobody knows yet.
    pub(super) fn new(budget: Arc<BodyBudget>, length: Option<u64>) -> BodyStore {
        BodyStore { budget, memory: Vec::new(), filled: 0, length, file: None }
    }

    /// A body that another process has collected.
    pub(super) fn adopt(budget: Arc<BodyBudget>, StoredBody { file, length }: StoredBody) -> BodyStore {
        budget.files.fetch_add(length, Ordering::Relaxed);
        let file = TemporaryFile { _fork_guard: ForkGuard::of_file(&file), file, length };
        BodyStore { budget, memory: Vec::new(), filled: 0, length: Some(length), file: Some(file) }
    }

    /// For another process: the file that a complete body is in, if it was written out.
    pub(super) fn into_file(mut self) -> Option<StoredBody> {
        let TemporaryFile { _fork_guard, file, length } = self.file.take()?;
        self.budget.files.fetch_sub(length, Ordering::Relaxed);
        Some(StoredBody { file, length })
    }

    /// Has memory to be written to the file before more can be taken?
    pub(super) fn needs_write(&self, limits: &Limits) -> bool {
        let has_block = self.file.is_some() && self.filled >= WRITE_BLOCK;
        // Full, and not allowed to grow.
        has_block || self.filled > 0 && self.filled == self.memory.len() && self.next_size(limits).is_none()
    }

    /// Has a complete body a rest that belongs behind what is in the file?
    pub(super) fn has_unwritten_rest(&self) -> bool {
        self.file.is_some() && self.filled > 0
    }

    /// The next size of the memory; `None` at the bound for one body or for all of them.
    fn next_size(&self, limits: &Limits) -> Option<usize> {
        let size = self.memory.len();
        let has_room = self.budget.memory.taken() < limits.bodies_memory;
        let most = if self.will_be_in_a_file(limits) { WRITE_BLOCK } else { limits.body_memory };
        let whole = self.length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let next = match self.file {
            Some(_) if has_room => WRITE_BLOCK,
            Some(_) => SMALL_BLOCK,
            // The first bytes have to go somewhere, whatever the others take.
            None if !has_room && size > 0 => return None,
            None if size >= WHOLE_FROM && self.length.is_some() => whole,
            None if (FASTER_FROM..WHOLE_FROM).contains(&size) => size * 16,
            None => size * 4,
        };
        let next = next.clamp(FIRST_SIZE, most.min(whole).max(FIRST_SIZE));
        (next > size).then_some(next)
    }

    /// Is it too long to be kept in memory, as far as anybody knows by now?
    fn will_be_in_a_file(&self, limits: &Limits) -> bool {
        self.file.is_some() || self.length.is_some_and(|length| length > limits.body_memory as u64)
    }

    /// Moves to memory of at least `size` bytes.
    fn grow(&mut self, size: usize) {
        let mut memory = self.budget.memory.take(size);
        memory[..self.filled].copy_from_slice(&self.memory[..self.filled]);
        self.budget.memory.give_back(std::mem::replace(&mut self.memory, memory));
    }

    /// Room for at most `wanted` more bytes; empty when a write is needed first.
    pub(super) fn room(&mut self, wanted: u64, limits: &Limits) -> &mut [u8] {
        if self.filled == self.memory.len() {
            if let Some(next) = self.next_size(limits) {
                self.grow(next);
            }
        }
        let end = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_add(self.filled).min(self.memory.len());
        &mut self.memory[self.filled..end]
    }

    /// So many bytes of the room have been filled.
    pub(super) fn fill(&mut self, count: usize) {
        self.filled += count;
        debug_assert!(self.filled <= self.memory.len());
    }

    /// Takes bytes that were read elsewhere, a read buffer's worth at most: beyond the bound, if it has to be.
    pub(super) fn append(&mut self, bytes: &[u8], limits: &Limits) {
        let needed = self.filled + bytes.len();
        if self.memory.len() < needed {
            self.grow(needed.max(self.next_size(limits).unwrap_or(0)));
        }
        self.memory[self.filled..needed].copy_from_slice(bytes);
        self.filled = needed;
    }

    /// Writes what is in memory behind what is in the file, and creates that if need be. Blocks.
    pub(super) fn write_out(&mut self, directory: Option<&Path>, limits: &Limits) -> Result<(), StoreError> {
        let count = self.filled as u64;
        if !self.budget.reserve_file(count, limits.body_files) {
            return Err(StoreError::Full(limits.body_files));
        }
        let mut write = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(create(directory)?),
            };
            sys::write_all_at(&file.file, &self.memory[..self.filled], file.length)
                .map_err(|error| StoreError::Io(directory_of(directory), error))?;
            file.length += count;
            Ok(())
        };
        if let Err(error) = write() {
            self.budget.files.fetch_sub(count, Ordering::Relaxed);
            return Err(error);
        }
        self.filled = 0;
        if self.memory.len() > WRITE_BLOCK {
            self.free_memory();
        }
        Ok(())
    }

    /// What was in memory has been written out: only the file is needed.
    pub(super) fn free_memory(&mut self) {
        if self.file.is_some() {
            self.budget.memory.give_back(std::mem::take(&mut self.memory));
        }
    }

    /// Does dropping it close a file, which may take its time?
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    fn collected(&self) -> Collected<'_> {
        match &self.file {
            Some(file) => Collected::File { file: &file.file, range: 0..file.length },
            None => Collected::Bytes(&self.memory[..self.filled]),
        }
    }
}

impl Drop for BodyStore {
    fn drop(&mut self) {
        self.budget.memory.give_back(std::mem::take(&mut self.memory));
        if let Some(file) = &self.file {
            self.budget.files.fetch_sub(file.length, Ordering::Relaxed);
        }
    }
}

/// Temporary files go there unless a setting says otherwise: `TMPDIR`, else `/var/tmp`, which is a disk where `/tmp` is
/// memory, else what the system names.
fn default_directory() -> PathBuf {
    let named = std::env::var_os("TMPDIR").is_some_and(|directory| !directory.is_empty());
    let disk = Path::new("/var/tmp");
    if cfg!(unix) && !named && disk.is_dir() {
        disk.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn directory_of(directory: Option<&Path>) -> PathBuf {
    directory.map_or_else(default_directory, Path::to_owned)
}

fn create(directory: Option<&Path>) -> Result<TemporaryFile, StoreError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    /// Names that are tried; each is as unlikely as the next one to exist.
    const TRIES: usize = 8;
    let directory = directory_of(directory);
    let mut tries = 0;
    loop {
        // A random name, so that nobody can have put something in its place.
        let random = RandomState::new().hash_one(NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = directory.join(format!(".amboss-body-{}-{random:016x}", std::process::id()));
        tries += 1;
        match sys::create_unlinked(&path) {
            Ok(file) => {
                let _fork_guard = ForkGuard::of_file(&file);
                return Ok(TemporaryFile { _fork_guard, file, length: 0 });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {}
            Err(error) => return Err(StoreError::Io(directory, error)),
        }
    }
}

/// The body of a request that lies in the connection's read buffer or in a store, as the application reads it.
pub(super) struct CollectedBody<'a> {
    whole: Collected<'a>,
    /// What has been consumed, from the beginning of the body.
    position: u64,
    /// A piece of the file: its bytes from `block_start` on.
    block: Vec<u8>,
    block_start: u64,
}

impl<'a> CollectedBody<'a> {
    pub(super) fn of_bytes(bytes: &'a [u8]) -> CollectedBody<'a> {
        CollectedBody { whole: Collected::Bytes(bytes), position: 0, block: Vec::new(), block_start: 0 }
    }

    pub(super) fn of_store(store: &'a BodyStore) -> CollectedBody<'a> {
        CollectedBody { whole: store.collected(), ..CollectedBody::of_bytes(&[]) }
    }
}

/// Fills a buffer from a file.
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut there = 0;
    while there < buffer.len() {
        match sys::read_at(file, &mut buffer[there..], offset + there as u64) {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the temporary file of the body was cut"))
            }
            Ok(count) => there += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Source for CollectedBody<'_> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        let (file, range) = match &self.whole {
            Collected::Bytes(bytes) => return Ok(&bytes[self.position as usize..]),
            Collected::File { file, range } => (file, range),
        };
        if self.position >= self.block_start + self.block.len() as u64 && self.position < range.end {
            let count = (range.end - self.position).min(READ_BLOCK as u64) as usize;
            self.block.resize(count, 0);
            self.block_start = self.position;
            if let Err(error) = read_exact_at(file, &mut self.block, range.start + self.position) {
                self.block.clear();
                return Err(error);
            }
        }
        let used = (self.position - self.block_start) as usize;
        Ok(self.block.get(used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let length = self.length().unwrap_or(0);
        self.position = length.min(self.position + amount as u64);
    }

    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Collected::File { file, range } = &self.whole {
            let block_is_used = self.position >= self.block_start + self.block.len() as u64;
            if block_is_used && buffer.len() >= READ_BLOCK {
                // As large as our own block: it need not be copied through that.
                let count = self.at_hand().min(buffer.len() as u64) as usize;
                read_exact_at(file, &mut buffer[..count], range.start + self.position)?;
                self.position += count as u64;
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    fn at_hand(&self) -> u64 {
        self.length().unwrap_or(0) - self.position
    }

    fn length(&self) -> Option<u64> {
        Some(match &self.whole {
            Collected::Bytes(bytes) => bytes.len() as u64,
            Collected::File { range, .. } => range.end - range.start,
        })
    }

    fn collected(&self) -> Option<Collected<'_>> {
        Some(self.whole.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::wsgi::Input;

    fn limits() -> Limits {
        Limits { body_memory: 4096, bodies_memory: 10_000, body_files: 1 << 20, ..Limits::default() }
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    fn taken(budget: &BodyBudget) -> (u64, u64) {
        (budget.memory.taken(), budget.files.load(Ordering::Relaxed))
    }

    /// Stores bytes as a connection does: by reading into the room, or by appending pieces.
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
                let room = store.room(rest.len() as u64, &limits());
                let count = room.len().min(piece);
                assert!(count > 0, "no room after a write");
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
    fn what_is_stored_is_read_back_whatever_its_size() {
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
        assert_eq!(taken(&budget), (0, 0), "what is dropped is given back");
    }

    #[test]
    fn memory_grows_with_what_arrives_and_not_with_what_is_announced() {
        let budget = BodyBudget::new(&limits());
        let mut store = BodyStore::new(budget.clone(), None);
        for _ in 0..100 {
            store.room(1 << 30, &limits())[0] = b'x';
            store.fill(1);
        }
        assert!(taken(&budget).0 <= 1024, "{:?}", taken(&budget));
    }

    #[test]
    fn a_body_in_a_file_has_one_block_of_memory() {
        let limits = Limits { body_memory: 4 * WRITE_BLOCK, ..Limits::default() };
        let budget = BodyBudget::new(&limits);
        // The length of the first is known from the start.
        for length in [Some(5 * WRITE_BLOCK as u64), None] {
            let mut store = BodyStore::new(budget.clone(), length);
            let (mut stored, mut most) = (0, 0);
            while stored < 5 * WRITE_BLOCK {
                if store.needs_write(&limits) {
                    store.write_out(None, &limits).unwrap();
                }
                let count = store.room((5 * WRITE_BLOCK - stored) as u64, &limits).len();
                store.fill(count);
                stored += count;
                most = most.max(store.memory.len());
            }
            assert_eq!(most, if length.is_some() { WRITE_BLOCK } else { limits.body_memory });
            assert_eq!(store.memory.len(), WRITE_BLOCK);
        }
    }

    #[test]
    fn a_body_of_known_length_gets_memory_for_all_of_it_when_it_has_come_far() {
        let limits = Limits::default();
        let budget = BodyBudget::new(&limits);
        let mut store = BodyStore::new(budget.clone(), Some(10 << 20));
        let mut sizes = Vec::new();
        while store.filled < 10 << 20 {
            let count = store.room(u64::MAX, &limits).len();
            store.fill(count);
            sizes.push(store.memory.len());
        }
        assert_eq!(sizes, [1 << 10, 4 << 10, 16 << 10, 256 << 10, 10 << 20]);
        assert_eq!(taken(&budget), (10 << 20, 0));
    }

    #[test]
    fn beyond_the_bound_for_all_bodies_they_go_to_files_and_then_fail() {
        let budget = BodyBudget::new(&limits());
        let stores: Vec<_> = (0..4).map(|_| store(&budget, &pattern(4000), 4000, false)).collect();
        assert!(stores.iter().any(BodyStore::has_file), "{:?}", taken(&budget));
        let mut last = BodyStore::new(budget.clone(), None);
        while taken(&budget).0 < limits().bodies_memory {
            last.append(&pattern(1000), &limits());
        }
        assert!(!BodyStore::new(budget.clone(), None).room(1, &limits()).is_empty(), "the first bytes find no room");
        let mut small = store(&budget, &pattern(100_000), 100_000, false);
        small.room(1 << 20, &limits());
        assert_eq!(small.memory.len(), SMALL_BLOCK, "a body in a file takes memory that nobody has left");
        drop((last, small));
        let mut large = store(&budget, &pattern(1_000_000), 100_000, false);
        large.append(&pattern(100_000), &limits());
        assert!(matches!(large.write_out(None, &limits()), Err(StoreError::Full(_))));
        let before = taken(&budget).1;
        drop(large);
        assert_eq!(taken(&budget).1, before - 1_000_000);
    }

    #[test]
    fn a_directory_that_can_t_be_written_is_named() {
        let budget = BodyBudget::new(&limits());
        let mut store = BodyStore::new(budget.clone(), None);
        store.append(b"x", &limits());
        let error = store.write_out(Some(Path::new("/no/such/directory")), &limits()).unwrap_err();
        assert!(error.to_string().contains("/no/such/directory") && error.to_string().contains("body_directory"));
        assert_eq!(taken(&budget).1, 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_file_has_no_name_and_is_its_users_alone() {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::MetadataExt;
        let budget = BodyBudget::new(&limits());
        let store = store(&budget, &pattern(10_000), 10_000, false);
        let Collected::File { file, .. } = store.collected() else { panic!("it is in memory") };
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(!name.exists(), "{}", name.display());
    }
}
