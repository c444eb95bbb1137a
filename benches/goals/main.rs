//! Measures Postern against its goals for speed and memory. Run by `hack/bench`; `docs/performance.md` says how to read it.
//!
//! ```text
//! hack/bench ─▶ goals SECTION ─┬─▶ postern run     the real operator, release build
//!                              ├─▶ goals baseline  the least that can issue the same token
//!                              └─▶ goals load      the generator, on a dedicated core
//! ```
//!
//! Each section appends what it measured to a file, from which `goals report` prints the table.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod apiserver_baseline;
mod attack;
mod authority_change_latency;
mod baseline;
mod bulk_create;
mod cgroup;
mod cluster;
mod endpoint;
mod floods;
mod group_fanout;
mod handshakes;
mod http;
mod introspection;
mod keys;
mod load;
mod machine;
mod memory_per_client;
mod methods;
mod operator;
mod proof;
mod report;
mod revocation;
mod startup;
mod tenant_floods;
mod tenants;
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;

/// Whatever went wrong, for a person to read.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

const USAGE: &str = "usage: hack/bench [endpoint | burst | burst-wide | clients | members | keys | floods | tenants]…";

fn main() -> ExitCode {
    // `cargo bench` adds a flag for its own harness.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            causes(error.as_ref()).for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["machine"] => machine::print_facts(),
        ["endpoint"] => measuring(endpoint::measure()),
        ["burst"] => measuring(bulk_create::measure(&bulk_create::DEEP)),
        ["burst-wide"] => measuring(bulk_create::measure(&bulk_create::WIDE)),
        ["clients"] => measuring(memory_per_client::measure()),
        ["keys"] => measuring(keys::measure()),
        ["floods"] => measuring(floods::measure()),
        ["members"] => measuring(group_fanout::measure()),
        ["tenants"] => measuring(tenants::measure()),
        ["report"] => report::print(),
        ["baseline", address, clients] => baseline::run(address.parse()?, clients),
        ["flood", plan] => floods::run(&serde_json::from_str(plan)?),
        ["load", plan] => load::run(&serde_json::from_str(plan)?),
        _ => Err(USAGE.into()),
    }
}

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'a dyn std::error::Error> {
    std::iter::successors(error.source(), |cause| cause.source()).map(|cause| cause as &dyn std::error::Error)
}

/// The task stays on the thread that started it: the children that it starts end with that thread.
fn measuring(section: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(section)
}

/// Folder for files of this run; `hack/bench` makes and removes it.
fn scratch() -> Result<PathBuf> {
    variable("POSTERN_BENCH_DIR").map(PathBuf::from)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: start it with hack/bench").into())
}

/// The middle of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this percentage of the measurements lies.
fn percentile(measured: &mut [f64], percent: usize) -> f64 {
    measured.sort_by(f64::total_cmp);
    measured.get(measured.len() * percent / 100).or(measured.last()).copied().unwrap_or(f64::NAN)
}
