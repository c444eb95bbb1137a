//! Server processes: the operator as it is released, and the other servers that are measured.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper::StatusCode;

use crate::http::Connection;
use crate::{Result, scratch, variable};

/// Namespace that the chart is installed in.
pub const NAMESPACE: &str = "postern-system";
const ANY_PORT: &str = "127.0.0.1:0";
/// A start takes a fraction of a second; this is for machines that do much else.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A running process; killed when it is dropped, and by the kernel when this process dies.
pub struct Process(Child);

impl Process {
    /// Starts `command` with what it prints in the file `log` of the scratch folder.
    pub fn start(mut command: Command, log: &str) -> Result<Self> {
        let output = File::create(scratch()?.join(log))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self(command.spawn()?))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs on one core, with as many workers, and ends with this process.
pub fn pinned(core: usize, program: &Path) -> Command {
    let mut command = ending_with_us("taskset");
    command.args(["-c", &core.to_string()]).arg(program).env("TOKIO_WORKER_THREADS", "1");
    command
}

fn ending_with_us(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// How a replica is started.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// Address of its token endpoint.
    pub listen: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
    issuer: String,
    /// Whether it serves plain HTTP.
    plain: bool,
}

impl Replica {
    /// A replica on free ports.
    pub fn new(name: &str, issuer: &str, plain: bool) -> Result<Self> {
        // All are held until the last is drawn: the kernel sometimes gives the one it has just got back.
        let held = (TcpListener::bind(ANY_PORT)?, TcpListener::bind(ANY_PORT)?, TcpListener::bind(ANY_PORT)?);
        let (listen, metrics, health) = (held.0.local_addr()?, held.1.local_addr()?, held.2.local_addr()?);
        Ok(Self { name: name.to_owned(), listen, health, metrics, issuer: issuer.to_owned(), plain })
    }

    /// Starts it, on `core` only if there is one.
    pub fn start(&self, core: Option<usize>) -> Result<Process> {
        self.start_with(core, &[])
    }

    /// The same with more flags.
    pub fn start_with(&self, core: Option<usize>, flags: &[&str]) -> Result<Process> {
        let mut command = self.command(core)?;
        command.args(flags);
        Process::start(command, &format!("{}.log", self.name))
    }

    /// The same with this memory limit, in this memory cgroup.
    pub fn start_limited(&self, core: Option<usize>, limit: &str, group: Option<&Path>) -> Result<Process> {
        let inner = self.command(core)?;
        let mut command = ending_with_us("sh");
        command.args(["-c", r#"[ -z "$0" ] || echo $$ >"$0/cgroup.procs"; exec "$@""#]);
        command.arg(group.unwrap_or("".as_ref())).arg(inner.get_program()).args(inner.get_args());
        command.args(["--memory-limit", limit]);
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Process::start(command, &format!("{}.log", self.name))
    }

    fn command(&self, core: Option<usize>) -> Result<Command> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_postern"));
        let mut command = core.map_or_else(|| ending_with_us(&program), |core| pinned(core, &program));
        command
            .args(["run", "--issuer", &self.issuer, "--namespace", NAMESPACE, "--replica-name", &self.name])
            .args(["--listen", &self.listen.to_string(), "--metrics-listen", &self.metrics.to_string()])
            .args(["--health-listen", &self.health.to_string()])
            // Some sections have all of their objects in one namespace.
            .args(["--objects-per-namespace", "100000"])
            // All clients have one address, and the figures are those of the work, not of its limits.
            .args(["--failed-authentications-per-minute", "0", "--hashes-per-second", "0"])
            .args(self.plain.then_some("--insecure-http"))
            // What the chart's ServiceAccount may do, and no more.
            .env("KUBECONFIG", variable("POSTERN_BENCH_KUBECONFIG")?);
        Ok(command)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        self.ready_within(READY_WITHIN).await
    }

    /// The same, with a longer timeout.
    pub async fn ready_within(&self, timeout: Duration) -> Result<()> {
        let asking = async {
            loop {
                if let Ok(mut connection) = Connection::open(self.health, None).await
                    && let Ok((StatusCode::OK, _)) = connection.get("/readyz").await
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let asked = tokio::time::timeout(timeout, asking).await;
        asked.map_err(|_| format!("{} is not ready after {timeout:?}, see its log", self.name).into())
    }
}

/// A free address of this machine.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(ANY_PORT)?.local_addr()?)
}
