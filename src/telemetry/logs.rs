//! Log set-up: one line per event on standard output, JSON unless that is a terminal, written by a dedicated thread.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::batch_writer;
use super::batch_writer::Writer;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("the log filter is not valid")]
    Filter(#[from] ParseError),
    /// The writer thread cannot be started.
    #[error("the log's thread cannot be started")]
    Thread(#[from] io::Error),
    /// A subscriber is already installed.
    #[error("logging is set up already")]
    Init(#[from] TryInitError),
}

/// Writes the remaining lines when it is dropped: keep it until the end of `main`.
#[must_use = "dropping it ends the writer"]
#[derive(Debug)]
pub struct LogGuard {
    _writer: Writer,
}

/// Sets up logging for the process. `filter` is in the syntax of `RUST_LOG`, for example `info,postern=debug`.
///
/// Lines of other crates below debug are never written: at trace level some print what they send and receive.
///
/// # Errors
/// [`LogError`]
pub fn init(filter: &str) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::builder().parse(filter)?.and(filter_fn(harmless));
    let terminal = io::stdout().is_terminal();
    let (lines, writer) = batch_writer::start(io::stdout())?;
    let lines = tracing_subscriber::fmt::layer().with_writer(lines);
    let lines = if terminal {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    Ok(LogGuard { _writer: writer })
}

fn harmless(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().split("::").next() == Some("postern");
    ours || *metadata.level() <= Level::DEBUG
}
