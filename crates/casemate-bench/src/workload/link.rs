//! A rate-limited link on this machine: a network namespace with a token bucket filter, or a stream
//! with delayed writes.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Network namespaces with a rate-limited loopback. Each exists only as long as the process in it,
/// so nothing is left behind.
pub(crate) struct Namespace(());

/// Brings the loopback up, limits its rate and runs the remaining arguments. The MTU is that of
/// Ethernet, because with the usual 64 KiB the filter would drop or pass whole bursts.
const INSIDE: &str = "ip link set lo mtu 1500 up && tc qdisc add dev lo root tbf rate \"$1\" burst \"$2\" latency 200ms && shift 2 && exec \"$@\"";

impl Namespace {
    /// Checks that this user may create namespaces and that the tools are installed.
    pub(crate) fn new() -> Option<Self> {
        quietly("tc", &["-Version"])?;
        quietly("unshare", &["--net", "ip", "link", "set", "lo", "up"])?;
        Some(Self(()))
    }

    /// Returns a command that runs inside a namespace, whose rate limit both directions share.
    #[expect(
        clippy::unused_self,
        reason = "the value proves that namespaces can be created"
    )]
    pub(crate) fn command(&self, megabits: u64, program: &Path) -> Command {
        let rate = format!("{megabits}mbit");
        // The burst is a hundredth of a second of traffic, but at least one large packet.
        let burst = (megabits * 1_250).max(65_536).to_string();
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", INSIDE, "sh", &rate, &burst]);
        command.arg(program);
        command
    }
}

fn quietly(program: &str, arguments: &[&str]) -> Option<()> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then_some(())
}

/// A stream with rate-limited writes, for use without namespaces.
pub(crate) struct Shaped<S> {
    inner: S,
    /// Bytes per second; `None` for no limit.
    rate: Option<f64>,
    free_at: Instant,
    /// Bytes written so far.
    pub(crate) written: u64,
}

/// Bytes to write between pauses.
const SHAPED_WRITE_BYTES: usize = 16 * 1024;

impl<S> Shaped<S> {
    pub(crate) fn new(inner: S, megabits: Option<u64>) -> Self {
        Self {
            inner,
            rate: megabits.map(|megabits| megabits as f64 * 125_000.0),
            free_at: Instant::now(),
            written: 0,
        }
    }
}

impl<S: Read> Read for Shaped<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read(out)
    }
}

impl<S: Write> Write for Shaped<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(rate) = self.rate else {
            let written = self.inner.write(bytes)?;
            self.written += written as u64;
            return Ok(written);
        };
        let part = bytes.get(..SHAPED_WRITE_BYTES).unwrap_or(bytes);
        thread::sleep(self.free_at.saturating_duration_since(Instant::now()));
        let written = self.inner.write(part)?;
        let takes = Duration::from_secs_f64(written as f64 / rate);
        self.free_at = self.free_at.max(Instant::now()) + takes;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shaped_stream_keeps_its_rate() {
        let started = Instant::now();
        let mut shaped = Shaped::new(Vec::new(), Some(10));
        shaped.write_all(&vec![1; 125_000]).unwrap();
        assert_eq!(shaped.written, 125_000);
        // A tenth of a second, minus the last write, which does not wait.
        assert!(started.elapsed() > Duration::from_millis(80));
        let mut free = Shaped::new(Vec::new(), None);
        free.write_all(&[1; 10]).unwrap();
        assert_eq!(free.inner, [1; 10]);
    }
}
