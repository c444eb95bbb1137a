//! Writes log lines in batches, on a thread of its own, without losing one.
//!
//! Waking a thread costs as much as a tenth of a token. So whoever logs only leaves the line in a buffer; the first line
//! wakes the writer, and what comes in the next milliseconds goes out with it, in one system call.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(5);
/// When so many bytes wait, whoever logs waits too, because an audit line must not get lost.
const BYTES_WAITING_MAX: usize = 4 << 20;
/// A buffer that grew larger in a burst is given back.
const BYTES_KEPT: usize = 256 << 10;

/// Where lines go. Clones lead to the same place.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or nothing will come any more.
    filled: Condvar,
    /// There is room again.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
}

/// Writes what is still waiting when it is dropped.
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
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let full = |waiting: &mut Waiting| waiting.bytes.len() >= BYTES_WAITING_MAX && !waiting.closed;
        let mut waiting = self.emptied.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes.is_empty() {
            self.filled.notify_one();
        }
        waiting.bytes.extend_from_slice(line);
    }

    fn write_out(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.closed;
            let waiting = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let closed = waiting.closed;
            drop(waiting);
            if !closed {
                thread::sleep(GATHER);
            }
            mem::swap(&mut batch, &mut self.lock().bytes);
            self.emptied.notify_all();
            // Nobody reads the output any more: there is nowhere to say so.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(BYTES_KEPT);
            if closed && self.lock().bytes.is_empty() {
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
        self.lines.0.lock().closed = true;
        self.lines.0.filled.notify_one();
        self.lines.0.emptied.notify_all();
        let _ = self.thread.take().map(JoinHandle::join);
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

    /// An output that can be looked at afterwards, and takes its time.
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
    fn every_line_of_every_thread_is_written_in_its_order_and_many_at_once() {
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

    #[test]
    fn who_logs_waits_for_room_and_nothing_is_lost() {
        let output = Slow::default();
        let (lines, writer) = start(output.clone()).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..12 {
            lines.make_writer().write_all(&line).unwrap();
            assert!(lines.0.lock().bytes.len() < BYTES_WAITING_MAX + line.len());
        }
        drop(writer);
        assert_eq!(output.0.lock().unwrap().0.len(), 12 << 20);
    }
}
