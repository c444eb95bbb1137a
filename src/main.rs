//! The `postern` command.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use postern::cli::{Cli, Command, ExplainArgs, one_line};
use postern::explain::ExplainError;
use postern::run::Parts;
use postern::util::error_chain::display_chain;
use tikv_jemallocator::Jemalloc;

/// Returns memory to the system after a burst, on a dedicated thread: glibc keeps twice as much.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The exit code that a shell reports for a command ended by SIGPIPE (128 + 13).
const ENDED_BY_SIGPIPE: u8 = 141;
/// The exit code of clap for an invalid command line.
const BAD_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if is_help(&error) => error.exit(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "postern: {}", one_line(&error));
            return ExitCode::from(BAD_COMMAND_LINE);
        }
    };
    let operate = |parts: Parts| postern::run::run(parts).map_err(|error| (error.into(), 1));
    let done: Result<(), (Box<dyn Error>, u8)> = match cli.command {
        Command::Crds => print_crds().map_err(|error| (error, 1)),
        Command::Run(args) => operate((*args).into()),
        Command::Serve(args) => operate((*args).into()),
        Command::Control(args) => operate((*args).into()),
        Command::Explain(args) => explain(&args).map_err(|error| {
            let code = error.exit_code();
            (error.into(), code)
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe, for example `head`. Rust ignores the signal, so the write returns an error
        // instead.
        Err((error, _)) if is_closed_pipe(error.as_ref()) => ExitCode::from(ENDED_BY_SIGPIPE),
        Err((error, code)) => {
            // The log may not be set up yet, so this line is the only report.
            let _ = writeln!(std::io::stderr(), "postern: {}", display_chain(error.as_ref()));
            ExitCode::from(code)
        }
    }
}

/// Help and version are printed normally, also for a command line without arguments.
fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

fn explain(args: &ExplainArgs) -> Result<(), ExplainError> {
    postern::explain::run(
        &args.question(),
        &args.access(),
        &args.settings(),
        args.output,
        &mut std::io::stdout().lock(),
    )
}

fn print_crds() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for crd in postern::api::crds::all() {
        let yaml = serde_saphyr::to_string(&crd).map_err(|error| format!("could not print a CRD: {error}"))?;
        writeln!(out, "---\n{}", yaml.trim_end())?;
    }
    Ok(())
}

/// Checks only the error itself and its direct cause: deeper causes come from a connection.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    [Some(error), error.source()]
        .into_iter()
        .flatten()
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == ErrorKind::BrokenPipe)
}
