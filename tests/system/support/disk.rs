//! A disk that forgets: a file system of its own on a loop device, cut off from one moment to the next.
//!
//! The cut is the kernel's own (`XFS_IOC_GOINGDOWN`, which ext4 has too) without flushing the journal:
//! what was not synced is gone, as when the power fails. It needs root.

use super::daemon::PATIENCE;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A mounted disk; unmounted when dropped.
pub struct Disk {
    image: PathBuf,
    pub mount: PathBuf,
    /// xfs_io(8) waits for the word, so that the cut follows it within microseconds.
    switch: Option<Child>,
}

impl Disk {
    /// Makes a file system of this kind, `ext4` or `xfs`, and mounts it below `dir`.
    pub fn new(dir: &Path, kind: &str) -> Self {
        let disk = Self { image: dir.join("image"), mount: dir.join("disk"), switch: None };
        std::fs::File::create(&disk.image).unwrap().set_len(512 << 20).unwrap();
        std::fs::create_dir_all(&disk.mount).unwrap();
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&disk.image));
        let mut disk = disk;
        disk.insert();
        disk
    }

    fn insert(&mut self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount));
        let switch = Command::new("xfs_io")
            .arg("-x")
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        self.switch = Some(switch.expect("xfs_io is needed: scripts/install-test-tools"));
    }

    /// The power fails under this process: it does not take another step, and nothing is written any more.
    ///
    /// The process stands first. Where it ran on over the cut, a sync that is under way in that moment can
    /// return success for what both file systems have just thrown away, and a machine without power sees
    /// neither that nor the 250 which would follow. What it said before the stop, it said before the cut.
    pub fn cut(&mut self, pid: u32) {
        run(Command::new("kill").args(["-s", "STOP", &pid.to_string()]));
        let ends = Instant::now() + PATIENCE;
        while !stands(pid) {
            assert!(Instant::now() < ends, "process {pid} does not stand still");
            std::thread::yield_now();
        }
        let switch = self.switch.as_mut().expect("cut once");
        let mut word = switch.stdin.take().unwrap();
        word.write_all(b"shutdown\n").unwrap();
        drop(word);
        assert!(self.switch.take().unwrap().wait().unwrap().success());
        let probe = std::fs::write(self.mount.join("probe"), b"x");
        assert!(probe.is_err(), "the disk still takes octets");
    }

    /// The power is back: what was on the platters is there. Nobody may have files open.
    pub fn plug_in(&mut self) {
        self.unmount();
        self.insert();
    }

    fn unmount(&self) {
        let ends = Instant::now() + PATIENCE;
        // A process that was killed may not have let go of its files yet.
        while !Command::new("umount")
            .arg(&self.mount)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            assert!(Instant::now() < ends, "{} stays in use", self.mount.display());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// Whether all threads of the process are stopped, or in a call to the disk that they cannot leave.
fn stands(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may hold anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        matches!(state, Some('T' | 't' | 'D'))
    })
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(mut switch) = self.switch.take() {
            drop(switch.stdin.take());
            let _ = switch.wait();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said} (mounting a disk needs root)");
}
