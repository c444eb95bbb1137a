//! The memory limit of this process, from its cgroup.

use std::fs;
use std::path::{Path, PathBuf};

/// The limit in bytes: the lowest of the cgroups of this process, and of the machine. `None` if no limit can be read.
#[must_use]
pub fn limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| files(root, line)).flatten().filter_map(|file| read(&file));
    of_groups.chain(machine(root)).min()
}

/// The files that may contain a limit, for a line `ID:CONTROLLERS:PATH`: those of the group and of all its parents. In
/// a container the path is often a path of the host, whose topmost folder is the container's own.
fn files(root: &Path, line: &str) -> Option<Vec<PathBuf>> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mounts, file) = if controllers.is_empty() {
        (&["sys/fs/cgroup", "sys/fs/cgroup/unified"][..], "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (&["sys/fs/cgroup/memory"][..], "memory.limit_in_bytes")
    } else {
        return None;
    };
    let path = Path::new(path.trim_start_matches('/'));
    let of = |mount: &&str| {
        let mount = root.join(mount);
        path.ancestors().map(|group| mount.join(group).join(file)).collect::<Vec<_>>()
    };
    Some(mounts.iter().flat_map(of).collect())
}

/// A number of bytes; `max` means no limit.
fn read(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The memory of the machine.
fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        limit_below(root.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       16 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_lowest_cgroup_v2_limit_is_used() {
        let group = ("proc/self/cgroup", "0::/kubepods/pod1/container\n");
        let own = ("sys/fs/cgroup/kubepods/pod1/container/memory.max", "max\n");
        let pod = ("sys/fs/cgroup/kubepods/pod1/memory.max", "4096\n");
        assert_eq!(of(&[MACHINE, group, own, pod]), Some(4096));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root_of_its_cgroup_mount() {
        let group = ("proc/self/cgroup", "0::/\n");
        assert_eq!(of(&[MACHINE, group, ("sys/fs/cgroup/memory.max", "8192\n")]), Some(8192));
        let outside = ("proc/self/cgroup", "4:memory:/kubepods/pod1/container\n");
        assert_eq!(of(&[MACHINE, outside, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n")]), Some(8192));
    }

    #[test]
    fn the_cgroup_v1_limit_is_read_whatever_controllers_share_its_hierarchy() {
        let group = ("proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory,hugetlb:/b\n0::/\n");
        let limit = ("sys/fs/cgroup/memory/b/memory.limit_in_bytes", "4096\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of(&[MACHINE, group, limit, none]), Some(4096));
    }

    #[test]
    fn the_memory_of_the_machine_is_used_without_a_limit() {
        assert_eq!(of(&[MACHINE]), Some(16 * 1024));
        assert_eq!(
            of(&[MACHINE, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max")]),
            Some(16 * 1024)
        );
        assert_eq!(of(&[]), None);
    }
}
