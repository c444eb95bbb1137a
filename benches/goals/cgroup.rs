//! A memory cgroup for a process, where this machine lets us make one.

use std::fs;
use std::path::{Path, PathBuf};

/// A group below our own, so that our own limits hold for it too. It is removed when it is dropped, after its processes.
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// A group with this limit. `None` where that is not allowed, or not possible because of the processes in our own group.
    pub fn create(name: &str, limit: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let of = |line: &str| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let path = path.trim_start_matches('/').to_owned();
            match controllers {
                "" => Some((Path::new("/sys/fs/cgroup").join(path), "memory.max")),
                "memory" => Some((Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes")),
                _ => None,
            }
        };
        groups.lines().filter_map(of).find_map(|(own, file)| {
            let group = own.join(name);
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            fs::write(group.0.join(file), limit.to_string()).ok()?;
            Some(group)
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It is busy until the last of its processes is gone for good.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Memory of a process that cannot be given back by forgetting pages of files, in bytes.
pub fn anonymous_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
