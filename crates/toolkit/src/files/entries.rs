//! The entries of a folder, read and sorted.

use std::cmp::Reverse;
use std::io;
use std::time::SystemTime;

use cap_std::fs::{DirEntry, ReadDir};

use super::options::FolderOptions;
use super::path::{encode, is_served, system_path};
use super::root::Opened;

/// How many entries are read and sorted for each that a listing may show: those that come first are shown, and a folder of
/// any size takes a bounded time.
const READ_FACTOR: usize = 20;

/// An entry of a folder that would be served.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub is_folder: bool,
    pub size: u64,
    pub modified: Option<SystemTime>,
}

/// The entries of a folder.
#[derive(Debug)]
pub(super) struct Listing {
    pub entries: Vec<Entry>,
    /// Whether there are more than were read.
    pub is_cut: bool,
}

/// What entries are sorted by; folders come first in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortKey {
    Name,
    Size,
    Modified,
}

/// The order of a listing, from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub key: SortKey,
    pub descending: bool,
}

impl Listing {
    pub fn read(root: &Opened, path: &[u8], order: Order, options: &FolderOptions) -> io::Result<Listing> {
        let folder: ReadDir = match system_path(path) {
            Some(path) if !path.as_os_str().is_empty() => root.read_dir(path)?,
            _ => root.dir.entries()?,
        };
        let mut listing = Listing { entries: Vec::new(), is_cut: false };
        for entry in folder {
            let entry = entry?;
            let name = entry.file_name().as_encoded_bytes().to_vec();
            if !is_served(&name, options.hidden) || options.withholds(&name) {
                continue;
            }
            if listing.entries.len() == options.listing_limit.saturating_mul(READ_FACTOR) {
                listing.is_cut = true;
                break;
            }
            listing.entries.extend(describe(root, path, &entry, name));
        }
        listing.sort(order);
        listing.is_cut |= listing.entries.len() > options.listing_limit;
        listing.entries.truncate(options.listing_limit);
        Ok(listing)
    }

    fn sort(&mut self, order: Order) {
        self.entries.sort_by_cached_key(|entry| (by_name(&entry.name), entry.name.clone()));
        match order.key {
            SortKey::Name => {}
            SortKey::Size => self.entries.sort_by_key(|entry| entry.size),
            SortKey::Modified => self.entries.sort_by_key(|entry| entry.modified),
        }
        if order.descending {
            self.entries.reverse();
        }
        self.entries.sort_by_key(|entry| Reverse(entry.is_folder));
    }
}

/// The key by which names are sorted: letters without their case, and numbers by their values.
fn by_name(name: &[u8]) -> String {
    let mut key = String::with_capacity(name.len() + 16);
    let lower = String::from_utf8_lossy(name).to_lowercase();
    let mut rest = &*lower;
    while let Some(start) = rest.find(|char: char| char.is_ascii_digit()) {
        let end = rest[start..].find(|char: char| !char.is_ascii_digit()).map_or(rest.len(), |length| start + length);
        key.push_str(&rest[..start]);
        key.push_str(&format!("{:0>20}", &rest[start..end]));
        rest = &rest[end..];
    }
    key + rest
}

impl Entry {
    /// The address of the entry, relative to that of its folder.
    pub fn href(&self) -> String {
        encode(&self.name) + if self.is_folder { "/" } else { "" }
    }
}

/// Describes an entry as it would be served: `None` for pipes, devices, and links that lead to nothing or outside.
fn describe(root: &Opened, folder: &[u8], entry: &DirEntry, name: Vec<u8>) -> Option<Entry> {
    let is_link = entry.file_type().ok()?.is_symlink();
    let metadata = if is_link {
        let path = if folder.is_empty() { name.clone() } else { [folder, b"/", &name].concat() };
        root.metadata(system_path(&path)?).ok()?
    } else {
        entry.metadata().ok()?
    };
    let is_folder = metadata.is_dir();
    if !is_folder && !metadata.is_file() {
        return None;
    }
    let size = if is_folder { 0 } else { metadata.len() };
    Some(Entry { name, is_folder, size, modified: metadata.modified().ok().map(cap_std::time::SystemTime::into_std) })
}

impl Order {
    /// The query that asks for this order; empty for the usual one.
    pub fn query(self) -> String {
        let key = match self.key {
            SortKey::Name if !self.descending => return String::new(),
            SortKey::Name => "name",
            SortKey::Size => "size",
            SortKey::Modified => "date",
        };
        format!("?sort={key}{}", if self.descending { "&order=desc" } else { "" })
    }

    /// Reads `sort=name|size|date` and `order=asc|desc`; anything else is the order by name.
    pub fn parse(query: &[u8]) -> Order {
        let mut order = Order { key: SortKey::Name, descending: false };
        for (name, value) in form_urlencoded::parse(query) {
            match (&*name, &*value) {
                ("sort", "size") => order.key = SortKey::Size,
                ("sort", "date") => order.key = SortKey::Modified,
                ("order", "desc") => order.descending = true,
                _ => {}
            }
        }
        order
    }
}
