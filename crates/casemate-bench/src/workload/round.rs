//! A federated round over a rate-limited link: connect, download the global model, upload the
//! update, wait for the acknowledgement.
//!
//! `plain` is TCP alone. `tls-classical` is TLS 1.3 with X25519 and ECDSA. `protected` is a
//! training channel over TCP, with both ends proven by composite signatures. `aggregated` is secure
//! aggregation with two other clients, over TCP: the aggregator learns the sum only.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU64,
    process::Stdio,
    sync::Arc,
    thread,
    time::Instant,
};

use casemate_train::Channel;
use rustls::{ClientConnection, ServerConnection, StreamOwned, pki_types::ServerName};
use serde::{Deserialize, Serialize};

use super::{
    aggregate::{Cohort, SumRound},
    handshake::{Configs, configs},
    job::Job,
    link::{Namespace, Shaped},
};
use crate::{BenchError, Effort, Options, Progress, Report, rows::Round, stats};

/// The hidden option with which this program starts itself inside a namespace.
const PROBE_OPTION: &str = "--probe-round";
const MODES: [&str; 4] = ["plain", "tls-classical", "protected", "aggregated"];
const RATES: [u64; 3] = [10, 100, 1_000];
const PARAMETERS: [u64; 2] = [1_000_000, 10_000_000];
/// Maximum length of a frame, in bytes: the update of the largest round and its overhead.
const FRAME_BYTES_MAX: u64 = 96 << 20;

/// The measurement of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoundProbe {
    /// Number of parameters of the model, of four bytes each.
    parameters: u64,
    /// Number of rounds of each mode.
    samples: usize,
    /// Rate limit for writes, in megabits per second; `None` if the link itself is limited.
    shape: Option<NonZeroU64>,
}

/// Wall times in microseconds, and the bytes sent by both sides, for each mode.
type Figures = Vec<(String, Vec<f64>, u64)>;

pub(crate) fn measure(options: &Options, report: &mut Report, progress: Progress<'_>) {
    if !options.wants("federated round", "") && !options.wants("workload", "") {
        return;
    }
    let namespace = options.program.as_ref().and_then(|_| Namespace::new());
    if namespace.is_none() {
        let note = "cannot create a network namespace (needs root, and `ip` and `tc` from Debian's iproute2): the rate was limited by pausing writes instead";
        report.notes.push(note.to_owned());
    }
    for parameters in PARAMETERS {
        for megabits in RATES {
            if options.effort == Effort::Quick && (parameters, megabits) != (1_000_000, 1_000) {
                continue;
            }
            progress(
                &format!("federated round: {parameters} parameters at {megabits} Mbit/s"),
                6,
                8,
            );
            let probe = RoundProbe {
                parameters,
                samples: samples(options.effort, parameters, megabits),
                shape: NonZeroU64::new(megabits).filter(|_| namespace.is_none()),
            };
            let figures = match &namespace {
                Some(namespace) => inside(options, namespace, &probe, megabits),
                None => run(&probe),
            };
            let link = if namespace.is_some() {
                "namespace, tbf"
            } else {
                "paused writes"
            };
            match figures {
                Ok(figures) => add(report, &probe, megabits, link, figures),
                Err(error) => report
                    .notes
                    .push(format!("no federated round at {megabits} Mbit/s: {error}")),
            }
        }
    }
}

/// Returns the number of rounds that fit in the time; one large round takes a minute on a slow
/// link.
fn samples(effort: Effort, parameters: u64, megabits: u64) -> usize {
    let seconds_each = (2 * 32 * parameters) as f64 / (megabits as f64 * 1e6);
    let (seconds, most) = match effort {
        Effort::Quick => (1.0, 3),
        Effort::Standard => (20.0, 9),
        Effort::Thorough => (350.0, 31),
    };
    let fit = (seconds / seconds_each).floor();
    (1..=most)
        .rev()
        .find(|count| *count as f64 <= fit)
        .unwrap_or(1)
}

fn add(report: &mut Report, probe: &RoundProbe, megabits: u64, link: &str, figures: Figures) {
    let mut plain = 0.0;
    for (mode, times, bytes) in figures {
        let time = stats::timing(times);
        if mode == "plain" {
            plain = time.median_us;
        }
        report.rounds.push(Round {
            parameters: probe.parameters,
            megabits,
            link: link.to_owned(),
            mode,
            time,
            added_percent: 100.0 * (time.median_us / f64::max(plain, 1.0) - 1.0),
            bytes,
        });
    }
}

/// Runs the probe in a separate process inside the namespace.
fn inside(
    options: &Options,
    namespace: &Namespace,
    probe: &RoundProbe,
    megabits: u64,
) -> Result<Figures, BenchError> {
    let missing = || io::Error::other("cannot start this program again");
    let program = options.program.as_ref().ok_or_else(missing)?;
    let argument = serde_json::to_string(probe).map_err(BenchError::Report)?;
    let output = namespace
        .command(megabits, program)
        .args(["bench", PROBE_OPTION, &argument])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other("the measuring process failed").into());
    }
    serde_json::from_slice(&output.stdout).map_err(BenchError::Report)
}

/// Runs a probe for a measuring process and returns its figures as JSON.
///
/// # Errors
///
/// [`BenchError`] if the text is not a probe, or a round fails.
pub fn probe(text: &str) -> Result<String, BenchError> {
    let probe: RoundProbe = serde_json::from_str(text).map_err(BenchError::Report)?;
    serde_json::to_string(&run(&probe)?).map_err(BenchError::Report)
}

fn run(probe: &RoundProbe) -> Result<Figures, BenchError> {
    let site = Arc::new(Fixture::new(probe)?);
    let mut figures: Figures = MODES
        .iter()
        .map(|mode| ((*mode).to_owned(), Vec::new(), 0))
        .collect();
    if probe.samples > 1 {
        for mode in MODES {
            round(&site, mode)?;
        }
    }
    for _ in 0..probe.samples {
        for (mode, times, bytes) in &mut figures {
            let (time, sent) = round(&site, mode)?;
            times.push(time);
            *bytes = sent;
        }
    }
    Ok(figures)
}

/// Keys and data of both ends.
struct Fixture {
    model: Vec<u8>,
    shape: Option<u64>,
    tls: Configs,
    job: Job,
    cohort: Cohort,
    update: Vec<f32>,
}

impl Fixture {
    fn new(probe: &RoundProbe) -> Result<Self, BenchError> {
        let bytes = usize::try_from(probe.parameters.saturating_mul(4).min(FRAME_BYTES_MAX / 2));
        let bytes = bytes.unwrap_or_default();
        Ok(Self {
            cohort: Cohort::new(bytes / 4)?,
            update: vec![0.25; bytes / 4],
            model: vec![0x3f; bytes],
            shape: probe.shape.map(NonZeroU64::get),
            tls: configs("X25519", "ECDSA P-256")?,
            job: Job::new()?,
        })
    }
}

impl Fixture {
    fn sum(&self) -> SumRound<'_> {
        SumRound {
            cohort: &self.cohort,
            model: &self.model,
            update: &self.update,
        }
    }
}

/// Encrypts the content of frames, if there is a channel.
struct Protection(Option<Channel>);

impl Protection {
    fn seal(&mut self, content: &[u8]) -> Result<Vec<u8>, BenchError> {
        match &mut self.0 {
            Some(channel) => Ok(channel.sender.seal(content, b"")?),
            None => Ok(content.to_vec()),
        }
    }

    fn open(&mut self, frame: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        match &mut self.0 {
            Some(channel) => Ok(channel.receiver.open(&frame, b"")?),
            None => Ok(frame),
        }
    }
}

/// Runs one round; returns its wall time in microseconds and the bytes sent by both sides.
fn round(site: &Arc<Fixture>, mode: &str) -> Result<(f64, u64), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serving = {
        let (site, mode) = (site.clone(), mode.to_owned());
        thread::spawn(move || serve(&site, &mode, &listener))
    };
    let started = Instant::now();
    let taken = connect(site, mode, address);
    let time = started.elapsed().as_secs_f64() * 1e6;
    // If the aggregator failed, report its error; the client only saw its connection end.
    let served = serving
        .join()
        .map_err(|_| io::Error::other("the serving thread stopped early"))??;
    Ok((time, taken? + served))
}

/// Connects the client and takes part in a round; returns the bytes it sent.
fn connect(site: &Fixture, mode: &str, address: SocketAddr) -> Result<u64, BenchError> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut stream = Shaped::new(stream, site.shape);
    match mode {
        "plain" => take_part(site, &mut Protection(None), &mut stream)?,
        "aggregated" => site.sum().take_part(&mut stream)?,
        "protected" => {
            let (initiator, hello) = site.job.start()?;
            write_frame(&mut stream, &hello)?;
            let answer = read_frame(&mut stream)?;
            let (channel, finish) = site.job.finish(initiator, &answer)?;
            write_frame(&mut stream, &finish)?;
            take_part(site, &mut Protection(Some(channel)), &mut stream)?;
        }
        _ => {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connection = ClientConnection::new(site.tls.0.clone(), name)?;
            let mut stream = StreamOwned::new(connection, stream);
            take_part(site, &mut Protection(None), &mut stream)?;
            return Ok(stream.sock.written);
        }
    }
    Ok(stream.written)
}

/// Runs the client side: downloads the model, uploads the update, waits for the acknowledgement.
fn take_part(
    site: &Fixture,
    protection: &mut Protection,
    stream: &mut (impl Read + Write),
) -> Result<(), BenchError> {
    // TLS 1.3 clients send first; over plain TCP, this is the request for the model.
    write_frame(stream, b"model")?;
    let model = protection.open(read_frame(stream)?)?;
    if model.len() != site.model.len() {
        return Err(io::Error::other("the model has the wrong length").into());
    }
    write_frame(stream, &protection.seal(&model)?)?;
    let mut acknowledged = [0];
    stream.read_exact(&mut acknowledged)?;
    Ok(())
}

/// Runs the aggregator side; returns the bytes it sent.
fn serve(site: &Fixture, mode: &str, listener: &TcpListener) -> Result<u64, BenchError> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut stream = Shaped::new(stream, site.shape);
    match mode {
        "plain" => answer(site, &mut Protection(None), &mut stream)?,
        "aggregated" => site.sum().serve(&mut stream)?,
        "protected" => {
            let hello = read_frame(&mut stream)?;
            let (responder, message) = site.job.answer(&hello)?;
            write_frame(&mut stream, &message)?;
            let finish = read_frame(&mut stream)?;
            let channel = site.job.accept(responder, &finish)?;
            answer(site, &mut Protection(Some(channel)), &mut stream)?;
        }
        _ => {
            let connection = ServerConnection::new(site.tls.1.clone())?;
            let mut stream = StreamOwned::new(connection, stream);
            answer(site, &mut Protection(None), &mut stream)?;
            return Ok(stream.sock.written);
        }
    }
    Ok(stream.written)
}

fn answer(
    site: &Fixture,
    protection: &mut Protection,
    stream: &mut (impl Read + Write),
) -> Result<(), BenchError> {
    read_frame(stream)?;
    write_frame(stream, &protection.seal(&site.model)?)?;
    if protection.open(read_frame(stream)?)?.len() != site.model.len() {
        return Err(io::Error::other("the update has the wrong length").into());
    }
    stream.write_all(&[1])?;
    Ok(stream.flush()?)
}

pub(super) fn write_frame(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&(bytes.len() as u64).to_be_bytes())?;
    stream.write_all(bytes)?;
    stream.flush()
}

pub(super) fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame exceeds the limit"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use casemate_train::OVERHEAD_BYTES;

    use super::*;

    #[test]
    fn every_mode_delivers_the_update_and_protection_adds_its_known_bytes() {
        let text = r#"{"parameters":100000,"samples":1,"shape":1000}"#;
        let figures: Figures = serde_json::from_str(&probe(text).unwrap()).unwrap();
        let bytes: Vec<u64> = figures.iter().map(|(_, _, bytes)| *bytes).collect();
        // Model, update, three lengths, the request's five bytes and the acknowledgement.
        assert_eq!(bytes[0], 800_000 + 24 + 5 + 1);
        let (tls, protected) = (bytes[1] - bytes[0], bytes[2] - bytes[0]);
        // The update has 22 bits for each of 32; keys, shares and signatures come on top.
        let saved = bytes[0] - (400_000 - 275_000);
        assert!((saved..saved + 60_000).contains(&bytes[3]), "{}", bytes[3]);
        assert!(tls > 1_000, "{tls}");
        // Two messages, and a handshake with a key share, its encapsulation and two signatures.
        let least = 2 * OVERHEAD_BYTES as u64 + 1_216 + 1_120 + 2 * 3_373;
        assert!((least..least + 500).contains(&protected), "{protected}");
        assert_eq!(
            probe("{}").unwrap_err().to_string(),
            "not a benchmark report"
        );
    }

    #[test]
    fn large_rounds_on_slow_links_are_fewer() {
        assert_eq!(samples(Effort::Standard, 10_000_000, 10), 1);
        assert_eq!(samples(Effort::Standard, 1_000_000, 10), 3);
        assert_eq!(samples(Effort::Standard, 1_000_000, 1_000), 9);
    }
}
