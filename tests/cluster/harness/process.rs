//! Child processes that never outlive the test process, however that ends.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::eventually::eventually;

/// A running process, killed when it is dropped.
pub struct Process {
    child: Mutex<Child>,
    name: String,
}

impl Process {
    /// Starts `command` with its output in the file `log`. The kernel kills it when this process dies.
    pub fn start(name: &str, command: &Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("open the log file");
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped.stdin(Stdio::null()).stdout(output.try_clone().expect("share the log file")).stderr(output);
        let (answer, started) = channel();
        nursery().send((wrapped, answer)).expect("the nursery lives as long as the process");
        let child = started.recv().expect("an answer of the nursery").expect("start setpriv (package util-linux)");
        Self { child: Mutex::new(child), name: name.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Ends it as a crash would, and returns when it is gone.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Holds it where it is (SIGSTOP).
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Resumes it (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child().id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("run kill");
        assert!(status.success(), "{} runs no more", self.name);
    }

    /// The most memory that it has had so far, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child().id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("a peak") / 1024
    }

    /// How it ended, once it has.
    pub async fn ended(&self) -> ExitStatus {
        eventually(format_args!("{} ends", self.name), async || self.exit_status().ok_or("it runs".to_owned())).await
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("ask for the state of a child")
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Birth = (Command, Sender<std::io::Result<Child>>);

/// The thread that starts all children. The signal at the parent's death is sent when the *thread* that started the
/// child ends, and the threads of tests end before the process does.
fn nursery() -> Sender<Birth> {
    static NURSERY: LazyLock<Sender<Birth>> = LazyLock::new(|| {
        let (sender, births) = channel::<Birth>();
        std::thread::spawn(move || {
            for (mut command, answer) in births {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    NURSERY.clone()
}
