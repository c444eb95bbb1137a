//! What the machine is, and what the kernel says of processes.

use std::fs::read_to_string;

use crate::Result;

/// Clock ticks a second in /proc, the same on every Linux that runs Kubernetes.
const TICKS_PER_SECOND: f64 = 100.0;

/// Cores, kernel and how busy the machine is: without them no figure means anything.
pub fn print_facts() -> Result<()> {
    let field = |file: &str, name: &str| -> Result<String> {
        let text = read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        Ok(line.trim_start_matches([':', '\t', ' ']).to_owned())
    };
    let load = read_to_string("/proc/loadavg")?;
    println!("Machine  {} cores, {}", std::thread::available_parallelism()?, field("/proc/cpuinfo", "model name")?);
    println!("Memory   {}", field("/proc/meminfo", "MemTotal")?);
    println!("Kernel   {}", read_to_string("/proc/sys/kernel/osrelease")?.trim());
    println!("Load     {} (1, 5 and 15 minutes, at the start)", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Seconds of processor time that a process has used.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may hold spaces: count from behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// Resident memory of a process now, and at its highest, in MiB.
pub fn memory_mib(pid: u32) -> Result<(f64, f64)> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}
