//! The `postern` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use postern::chain::chain;
use postern::cli::{Cli, Command, ExplainArgs};
use postern::explain::ExplainError;
use tikv_jemallocator::Jemalloc;

/// Gives memory back after a burst, by a thread of its own: glibc keeps twice as much.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Crds => print_crds().map_err(|problem| (problem, 1)),
        Command::Run(args) => postern::run::run(*args).map_err(|error| (chain(&error), 1)),
        Command::Explain(args) => explain(&args).map_err(|error| (chain(&error), error.exit_code())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((problem, code)) => {
            // The log may not be set up yet; this line is all there is to read.
            let _ = writeln!(std::io::stderr(), "postern: {problem}");
            ExitCode::from(code)
        }
    }
}

fn explain(args: &ExplainArgs) -> Result<(), ExplainError> {
    postern::explain::run(&args.question(), &args.settings(), args.output, &mut std::io::stdout().lock())
}

fn print_crds() -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    for crd in postern::api::crds::all() {
        let yaml = serde_saphyr::to_string(&crd).map_err(|error| format!("could not print a CRD: {error}"))?;
        writeln!(out, "---\n{}", yaml.trim_end()).map_err(|error| format!("could not write: {error}"))?;
    }
    Ok(())
}
