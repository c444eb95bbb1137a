//! Log set-up: one line per event on standard output, JSON unless that is a terminal, written by a thread of its own.

use std::io::{self, BufWriter, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Lines that may wait for the writer; when they are full, whoever logs waits, because an audit line must not get lost.
/// The queue itself is allocated from the start: half a megabyte.
const LINES_WAITING_MAX: usize = 16_384;
/// Bytes that are written with one system call while lines are waiting.
const BATCH_BYTES: usize = 64 * 1024;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("the log filter is not valid")]
    Filter(#[from] ParseError),
    /// There is a subscriber already.
    #[error("logging is set up already")]
    Init(#[from] TryInitError),
}

/// Writes what is still waiting when it is dropped: keep it until the end of `main`.
#[must_use = "dropping it ends the writer"]
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
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
    let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES_WAITING_MAX);
    let (writer, worker) = builder.thread_name("log").finish(BufWriter::with_capacity(BATCH_BYTES, io::stdout()));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if terminal {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    Ok(LogGuard { _worker: worker })
}

fn harmless(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().split("::").next() == Some("postern");
    ours || *metadata.level() <= Level::DEBUG
}
