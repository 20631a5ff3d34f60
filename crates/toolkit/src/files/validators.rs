//! The entity tag and the date of a file.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use crate::negotiation::conditional::seconds_since_1970;
use crate::negotiation::{ETag, Validators};

/// How long a file may change without a change of its time stamp: two ticks of the slowest kernel clock (`CONFIG_HZ`
/// 100), with which file systems stamp.
const GRANULARITY: Duration = Duration::from_millis(20);

/// The same for file systems that count whole seconds, or two of them (FAT).
const COARSE_GRANULARITY: Duration = Duration::from_secs(2);

/// Makes the validators of a file. `suffix` distinguishes representations: the name of a content coding.
///
/// The tag holds the size and a hash of modification time, change time and inode. The modification time alone is not
/// enough: reproducible builds set it to the same value for every version. The change time and the inode can't be set;
/// they differ between machines, which costs a transfer, never an old version. They are hashed, since an inode number is
/// not for clients (CVE-2003-1418).
///
/// The tag is strong: every write changes it. Only within the granularity of the time stamps can a second write leave it
/// as it is, so a file that was just changed gets a weak tag, with which a client does not combine ranges.
pub(super) fn of(metadata: &Metadata, suffix: &str, now: SystemTime) -> Validators {
    let modified = metadata.modified().ok();
    let mut hasher = DefaultHasher::new();
    modified.hash(&mut hasher);
    hash_identity(metadata, &mut hasher);
    let tag = format!("{:x}-{:x}{suffix}", metadata.len(), hasher.finish());
    let etag = if modified.is_some_and(|time| is_settled(time, now)) { ETag::strong(tag) } else { ETag::weak(tag) };
    // RFC 9110 §8.8.2.1: no date that is later than the response.
    Validators { etag: Some(etag), last_modified: modified.map(|time| time.min(now)).and_then(seconds_since_1970) }
}

#[cfg(unix)]
fn hash_identity(metadata: &Metadata, hasher: &mut DefaultHasher) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec(), metadata.dev(), metadata.ino()).hash(hasher);
}

#[cfg(not(unix))]
fn hash_identity(metadata: &Metadata, hasher: &mut DefaultHasher) {
    metadata.created().ok().hash(hasher);
}

/// Whether another write would get another time stamp.
fn is_settled(modified: SystemTime, now: SystemTime) -> bool {
    let is_coarse = modified.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|time| time.subsec_nanos() == 0);
    let granularity = if is_coarse { COARSE_GRANULARITY } else { GRANULARITY };
    // A time in the future was set by a program, and says nothing.
    now.duration_since(modified).map_or(true, |age| age >= granularity)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use amboss_testkit::TempDir;

    use super::*;

    fn tag(folder: &TempDir, later: Duration) -> ETag {
        let metadata = fs::metadata(folder.join("a")).unwrap();
        of(&metadata, "", metadata.modified().unwrap() + later).etag.unwrap()
    }

    fn write(folder: &TempDir, text: &str, modified: SystemTime) {
        folder.write("a", text);
        File::options().write(true).open(folder.join("a")).unwrap().set_modified(modified).unwrap();
    }

    #[test]
    fn a_tag_is_weak_within_the_granularity_of_the_time_stamp() {
        let folder = TempDir::new("validators");
        let fine = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 1_000_000);
        let coarse = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (modified, age, weak) in
            [(fine, 0, true), (fine, 19, true), (fine, 20, false), (coarse, 1999, true), (coarse, 2000, false)]
        {
            write(&folder, "text", modified);
            assert_eq!(tag(&folder, Duration::from_millis(age)).is_weak(), weak, "{modified:?} {age}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_new_version_has_another_tag_with_the_same_size_and_time() {
        let folder = TempDir::new("validators");
        let later = Duration::from_secs(10);
        write(&folder, "one", SystemTime::UNIX_EPOCH);
        let one = tag(&folder, later);
        write(&folder, "two", SystemTime::UNIX_EPOCH);
        assert!(!tag(&folder, later).weak_eq(&one));
    }
}
