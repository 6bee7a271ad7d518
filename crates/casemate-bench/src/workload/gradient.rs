//! Gradient exchange: the handshake of a channel, followed by a series of messages.

use std::hint::black_box;

use casemate_train::{Channel, OVERHEAD_BYTES};

use super::job::Job;
use crate::{
    BenchError, Effort, Options,
    rows::{Gradient, Timing},
    stats,
    timer::thread_cpu_seconds,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SIZES: [usize; 7] = [
    KIB,
    16 * KIB,
    256 * KIB,
    4 * MIB,
    16 * MIB,
    64 * MIB,
    256 * MIB,
];
/// The name of the tensor, which the ends do not send.
const NAME: &[u8] = b"layer 0";

/// Both ends of a running channel, and the bytes on the wire that its handshake took.
struct Session {
    sending: Channel,
    receiving: Channel,
    started_bytes: u64,
}

impl Session {
    fn start(job: &Job) -> Result<Self, BenchError> {
        let (initiator, hello) = job.start()?;
        let (responder, answer) = job.answer(&hello)?;
        let (sending, finish) = job.finish(initiator, &answer)?;
        let receiving = job.accept(responder, &finish)?;
        Ok(Self {
            sending,
            receiving,
            started_bytes: (hello.len() + answer.len() + finish.len()) as u64,
        })
    }

    /// Sends one message from one end to the other through reused buffers; returns its bytes on the
    /// wire.
    fn send(&mut self, message: &[u8], buffers: &mut [Vec<u8>; 2]) -> Result<u64, BenchError> {
        let [sealed, opened] = buffers;
        self.sending.sender.seal_into(message, NAME, sealed)?;
        self.receiving.receiver.open_into(sealed, NAME, opened)?;
        if black_box(opened).first() == message.first() {
            return Ok(sealed.len() as u64);
        }
        Err(BenchError::Check {
            algorithm: "gradient exchange".to_owned(),
            what: "content",
        })
    }
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Gradient>, BenchError> {
    let mut rows = Vec::new();
    if !options.wants("gradient", "") && !options.wants("workload", "") {
        return Ok(rows);
    }
    let largest = match options.effort {
        Effort::Quick => 4 * MIB,
        _ => 256 * MIB,
    };
    let job = Job::new()?;
    for size in SIZES.into_iter().filter(|size| *size <= largest) {
        let samples = samples(options.effort, size);
        let message = vec![0x42; size];
        let mut buffer = Vec::with_capacity(size);
        let mut buffers = [vec![0; size + OVERHEAD_BYTES], vec![0; size]];
        let copy = cpu(samples, || {
            for _ in 0..2 {
                buffer.clear();
                buffer.extend_from_slice(black_box(&message));
                black_box(&mut buffer);
            }
            Ok(())
        })?;
        let mut first_bytes = 0;
        let first = cpu(samples, || {
            let mut session = Session::start(&job)?;
            first_bytes = session.started_bytes + session.send(&message, &mut buffers)?;
            Ok(())
        })?;
        let mut session = Session::start(&job)?;
        let mut steady_bytes = 0;
        let steady = cpu(samples, || {
            steady_bytes = session.send(&message, &mut buffers)?;
            Ok(())
        })?;
        for (phase, bytes, cpu) in [
            ("first", first_bytes, first),
            ("steady", steady_bytes, steady),
        ] {
            let added = bytes - size as u64;
            rows.push(Gradient {
                message_bytes: size as u64,
                phase: phase.to_owned(),
                added_bytes: added,
                added_percent: 100.0 * added as f64 / size as f64,
                cpu,
                copy,
            });
        }
    }
    Ok(rows)
}

fn samples(effort: Effort, size: usize) -> usize {
    let bytes_in_all = match effort {
        Effort::Quick => 16 * MIB,
        Effort::Standard => 1 << 30,
        Effort::Thorough => 8 << 30,
    };
    (bytes_in_all / size).clamp(3, 101)
}

/// Measures the processor time of an action, in microseconds.
fn cpu(
    samples: usize,
    mut action: impl FnMut() -> Result<(), BenchError>,
) -> Result<Timing, BenchError> {
    action()?;
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let started = thread_cpu_seconds();
        action()?;
        times.push((thread_cpu_seconds() - started) * 1e6);
    }
    Ok(stats::timing(times))
}
