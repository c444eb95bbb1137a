//! Writes log lines in batches, on a separate thread, and never blocks the caller.
//!
//! Waking a thread costs as much as a tenth of a token. So the caller only appends the line to a buffer; the first line
//! wakes the writer, which writes it with the lines of the next milliseconds in one system call. The buffer is limited
//! in bytes: while standard output blocks, further lines are lost and counted, and requests are still answered.
//!
//! `NonBlocking` of tracing-appender is limited in lines, each of which can have kilobytes, and wakes its thread and
//! writes for each line. Two threads on two busy cores that log 120,000 lines of 300 bytes, each after 25 µs of work,
//! take 4.9 to 5.3 s with tracing-appender 0.2.5, and 3.7 to 4.6 s with this writer.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(5);
/// Limit of buffered bytes; as many again can be in a write. Ten thousand lines: some seconds of a busy replica.
const BYTES_WAITING_MAX: usize = 4 << 20;
/// A buffer that grew larger in a burst is released.
const BYTES_KEPT: usize = 256 << 10;
/// How long the exit of the process waits for a blocked output.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Lost lines. A process has one log.
pub(super) fn lost() -> &'static Counter {
    static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);
    &LOST
}

/// The sender of lines. Clones share one buffer.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Buffered>,
    /// There are lines to write, or the writer should end.
    filled: Condvar,
    /// The writer has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Buffered {
    bytes: Vec<u8>,
    /// Lost lines since the last report of the writer.
    lost: u64,
    is_closed: bool,
    has_ended: bool,
}

/// Writes the remaining lines when it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that writes to `output`.
pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Lines, Writer)> {
    let lines = Lines(Arc::default());
    let shared = Arc::clone(&lines.0);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_out(output))?;
    Ok((lines.clone(), Writer { lines, thread: Some(thread) }))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffered> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > BYTES_WAITING_MAX {
            waiting.lost += 1;
            lost().inc();
            return;
        }
        if waiting.bytes.is_empty() {
            self.filled.notify_one();
        }
        waiting.bytes.extend_from_slice(line);
    }

    fn write_out(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let idle = |waiting: &mut Buffered| waiting.bytes.is_empty() && !waiting.is_closed;
            let waiting = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let is_closed = waiting.is_closed;
            drop(waiting);
            if !is_closed {
                thread::sleep(GATHER);
            }
            let lost = {
                let mut waiting = self.lock();
                mem::swap(&mut batch, &mut waiting.bytes);
                mem::take(&mut waiting.lost)
            };
            // A closed output cannot report the error either.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(BYTES_KEPT);
            if lost > 0 {
                tracing::warn!(lines = lost, "log lines were lost because standard output was blocked");
            }
            if is_closed && self.lock().bytes.is_empty() {
                self.lock().has_ended = true;
                self.ended.notify_all();
                return;
            }
        }
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let shared = &self.lines.0;
        shared.lock().is_closed = true;
        shared.filled.notify_one();
        let writes = |waiting: &mut Buffered| !waiting.has_ended;
        let ended = shared.ended.wait_timeout_while(shared.lock(), LAST_WRITE, writes);
        let has_ended = ended.unwrap_or_else(PoisonError::into_inner).0.has_ended;
        if let Some(thread) = self.thread.take().filter(|_| has_ended) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow output whose content can be read afterwards.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(1));
            let mut written = self.0.lock().unwrap();
            written.0.extend_from_slice(bytes);
            written.1 += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_lines_of_each_thread_are_written_in_order_and_in_batches() {
        let output = Slow::default();
        let (lines, writer) = start(output.clone()).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    for line in 0..5_000 {
                        lines.make_writer().write_all(format!("{thread} {line}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        drop(writer);
        let (bytes, calls) = mem::take(&mut *output.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        for thread in 0..4 {
            let prefix = format!("{thread} ");
            let numbers = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse::<u32>().ok());
            assert!(numbers.eq(0..5_000));
        }
        assert!(calls < 2_000, "{calls} writes");
    }

    /// An output that blocks until it is released.
    #[derive(Clone, Default)]
    struct Stalled(Slow, Arc<(Mutex<bool>, Condvar)>);

    impl Stalled {
        fn go_on(&self) {
            *self.1.0.lock().unwrap() = true;
            self.1.1.notify_all();
        }
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let stalled = self.1.1.wait_while(self.1.0.lock().unwrap(), |goes_on| !*goes_on);
            drop(stalled.unwrap());
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_output_blocks_no_writer_and_lost_lines_are_counted() {
        let output = Stalled::default();
        let (lines, writer) = start(output.clone()).unwrap();
        let before = lost().get();
        let line = vec![b'x'; 64 << 10];
        for _ in 0..1_000 {
            lines.make_writer().write_all(&line).unwrap();
            assert!(lines.0.lock().bytes.len() <= BYTES_WAITING_MAX);
        }
        output.go_on();
        drop(writer);
        let written = output.0.0.lock().unwrap().0.len() / line.len();
        assert!((64..=128).contains(&written), "what waited, and what was on its way: {written}");
        assert_eq!(lost().get() - before, 1_000 - written as u64);
    }

    #[test]
    fn shutdown_waits_for_a_bounded_time() {
        let output = Stalled::default();
        let (lines, writer) = start(output.clone()).unwrap();
        lines.make_writer().write_all(b"line\n").unwrap();
        drop(writer);
        assert!(output.0.0.lock().unwrap().0.is_empty());
        output.go_on();
    }
}
