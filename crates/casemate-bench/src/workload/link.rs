//! A rate-limited link on this machine: a network namespace with a token bucket filter, or writes that wait their turn.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A network namespace whose loopback is limited; removed when dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, if this user may and the tools are there.
    pub(crate) fn new() -> Option<Self> {
        let namespace = Self {
            name: format!("casemate-bench-{}", std::process::id()),
        };
        quietly("ip", &["netns", "add", &namespace.name])?;
        // Real packets: with the loopback's usual 64 KiB the filter would drop or pass whole bursts.
        let up = ["link", "set", "lo", "mtu", "1500", "up"];
        namespace.run("ip", &up)?;
        Some(namespace)
    }

    /// Limits the link.
    pub(crate) fn limit(&self, megabits: u64) -> Option<()> {
        let rate = format!("{megabits}mbit");
        // A hundredth of a second of traffic may pass at once, but at least one large packet.
        let burst = format!("{}", (megabits * 1_250).max(65_536));
        let filter = [
            "qdisc", "replace", "dev", "lo", "root", "tbf", "rate", &rate, "burst", &burst,
            "latency", "200ms",
        ];
        self.run("tc", &filter)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Option<()> {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(arguments);
        quietly("ip", &all)
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        _ = quietly("ip", &["netns", "delete", &self.name]);
    }
}

fn quietly(program: &str, arguments: &[&str]) -> Option<()> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then_some(())
}

/// A stream whose writes are held back to a rate, where no namespace can be had.
pub(crate) struct Shaped<S> {
    inner: S,
    /// Bytes in a second; nothing is held back without.
    rate: Option<f64>,
    free_at: Instant,
    /// Bytes written so far.
    pub(crate) written: u64,
}

/// Bytes that pass before a pause is worth taking.
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
    fn a_shaped_stream_takes_the_time_that_its_rate_says() {
        let started = Instant::now();
        let mut shaped = Shaped::new(Vec::new(), Some(10));
        shaped.write_all(&vec![1; 125_000]).unwrap();
        assert_eq!(shaped.written, 125_000);
        // A tenth of a second, less the last write, which is not waited for.
        assert!(started.elapsed() > Duration::from_millis(80));
        let mut free = Shaped::new(Vec::new(), None);
        free.write_all(&[1; 10]).unwrap();
        assert_eq!(free.inner, [1; 10]);
    }
}
