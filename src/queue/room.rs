//! How much room the store has: its own bound, and the reserve of the disk that settlements need.
//!
//! It promises that asking is cheap: the disk is looked at once a second at most, and what was let in
//! since the last look is counted, so that a second of heavy traffic does not eat the reserve. It
//! refuses mail, it never stops a settlement, save where the store itself has gone: what is written then
//! is lost.

use rustix::fs::{StatVfsMountFlags, statvfs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look at the disk holds.
const FRESH: Duration = Duration::from_secs(1);
/// Free inodes below which no mail is taken: bodies, the write-ahead log and its index need some.
const INODES: u64 = 64;

/// Bodies up to here lie in the store itself, larger ones in files.
pub(super) const INLINE: usize = 256 * 1024;
/// What the row and the index of a mail take, about.
const ROW: u64 = 8 * 1024;

/// The room of one store.
#[derive(Debug)]
pub(super) struct Room {
    file: PathBuf,
    /// Device and inode of the database that is open.
    identity: (u64, u64),
    max_size: AtomicU64,
    reserve: AtomicU64,
    used: AtomicU64,
    /// Octets let in since the disk was looked at.
    let_in: AtomicU64,
    seen: Mutex<Option<(Instant, Disk)>>,
}

/// What the disk said.
#[derive(Clone, Debug)]
enum Disk {
    Free(u64),
    NoInodes,
    ReadOnly,
    Gone(String),
}

impl Room {
    /// The room of the store whose database is `file`.
    pub(super) fn new(file: &Path, max_size: u64, reserve: u64) -> std::io::Result<Self> {
        Ok(Self {
            file: file.to_owned(),
            identity: identity(file)?,
            max_size: max_size.into(),
            reserve: reserve.into(),
            used: AtomicU64::new(0),
            let_in: AtomicU64::new(0),
            seen: Mutex::new(None),
        })
    }

    /// Other bounds from now on.
    pub(super) fn set_bounds(&self, max_size: u64, reserve: u64) {
        self.max_size.store(max_size, Ordering::Relaxed);
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// Octets of bodies in the queue.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes how many octets of bodies there are. Only the writer does.
    pub(super) fn set_used(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
    }

    /// Whether `size` more octets fit, beside `used`; the text says what is full.
    pub(super) fn fits(&self, used: u64, size: u64) -> Result<(), String> {
        let max = self.max_size.load(Ordering::Relaxed);
        if used.saturating_add(size) > max {
            return Err(format!(
                "{used} octets are queued, {size} more would exceed max_size = {max}"
            ));
        }
        self.leaves_reserve(cost(size))
    }

    /// As [`Room::fits`], for a mail that is then written.
    pub(super) fn admit(&self, used: u64, size: u64) -> Result<(), String> {
        self.fits(used, size)?;
        self.let_in.fetch_add(cost(size), Ordering::Relaxed);
        Ok(())
    }

    /// Whether a body file may grow by `size` octets, which are then written.
    pub(super) fn grow(&self, size: u64) -> Result<(), String> {
        self.leaves_reserve(size)?;
        self.let_in.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    fn leaves_reserve(&self, size: u64) -> Result<(), String> {
        let disk = self.disk();
        let (let_in, reserve) =
            (self.let_in.load(Ordering::Relaxed), self.reserve.load(Ordering::Relaxed));
        match disk {
            Disk::Free(free) if free.saturating_sub(let_in).saturating_sub(size) < reserve => {
                Err(format!("{free} octets are free on the disk, {reserve} are kept as reserve"))
            }
            Disk::Free(_) => Ok(()),
            Disk::NoInodes => Err("the disk has no free inodes".into()),
            Disk::ReadOnly => Err("the file system is read-only".into()),
            Disk::Gone(what) => Err(what),
        }
    }

    /// Whether the open database still stands under its name; one that was removed takes writes
    /// without complaint and loses them. Looked at each time: it is asked once a commit, and a 250 in
    /// the second after the removal would be a lie.
    pub(super) fn stands(&self) -> Result<(), String> {
        match identity(&self.file) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(format!("{} was replaced by another file", self.file.display())),
            Err(error) => Err(format!("{}: {error}", self.file.display())),
        }
    }

    /// Looks at the disk again, as after a second.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn disk(&self) -> Disk {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, disk)) = &*seen
            && at.elapsed() < FRESH
        {
            return disk.clone();
        }
        // Before the look: what is let in meanwhile is counted twice rather than not at all.
        self.let_in.store(0, Ordering::Relaxed);
        let disk = self.look();
        *seen = Some((Instant::now(), disk.clone()));
        disk
    }

    fn look(&self) -> Disk {
        if let Err(what) = self.stands() {
            return Disk::Gone(what);
        }
        match statvfs(&self.file) {
            Ok(disk) if disk.f_flag.contains(StatVfsMountFlags::RDONLY) => Disk::ReadOnly,
            // File systems that make inodes as they go say 0 of 0.
            Ok(disk) if disk.f_files > 0 && disk.f_favail < INODES => Disk::NoInodes,
            Ok(disk) => Disk::Free(disk.f_bavail.saturating_mul(disk.f_frsize)),
            Err(error) => Disk::Gone(format!("{}: {error}", self.file.display())),
        }
    }
}

/// What a mail of `size` octets takes on the disk: in the store itself it is written to the log and from
/// there to the database.
fn cost(size: u64) -> u64 {
    if size > INLINE as u64 { size } else { 2 * size + ROW }
}

fn identity(file: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(file)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(max_size: u64, reserve: u64) -> (tempfile::TempDir, Room) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("queue.db");
        std::fs::write(&file, "").unwrap();
        let room = Room::new(&file, max_size, reserve).unwrap();
        (dir, room)
    }

    #[test]
    fn b03_says_which_bound_is_reached() {
        let (_dir, room) = room(100, 0);
        assert_eq!(room.fits(60, 40), Ok(()));
        assert!(room.fits(60, 41).unwrap_err().contains("max_size = 100"));
        assert!(room.fits(u64::MAX, u64::MAX).is_err());
    }

    #[test]
    fn b03_keeps_the_reserve() {
        let (_dir, room) = room(u64::MAX, u64::MAX);
        assert!(room.fits(0, 0).unwrap_err().contains("kept as reserve"));
    }

    #[test]
    fn b03_a_second_of_heavy_traffic_does_not_eat_the_reserve() {
        let (_dir, room) = room(u64::MAX, 0);
        let Disk::Free(free) = room.disk() else { panic!("no disk") };
        room.set_bounds(u64::MAX, free.saturating_sub(10 * cost(1000)));
        let taken = (0..100).filter(|_| room.admit(0, 1000).is_ok()).count();
        assert!(taken <= 10, "{taken} on one look at the disk");
    }

    #[test]
    fn b03_a_store_that_is_gone_or_replaced_takes_nothing_and_recovers() {
        let (dir, room) = room(u64::MAX, 0);
        let (file, away) = (dir.path().join("queue.db"), dir.path().join("away"));
        std::fs::rename(&file, &away).unwrap();
        for replace in [false, true] {
            if replace {
                std::fs::write(&file, "").unwrap();
            }
            room.look_again();
            assert!(room.stands().is_err() && room.fits(0, 1).is_err());
        }
        std::fs::rename(&away, &file).unwrap();
        room.look_again();
        assert_eq!((room.stands(), room.fits(0, 1)), (Ok(()), Ok(())));
    }
}
