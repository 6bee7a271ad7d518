//! Gradient exchange: one HPKE session, signed once, followed by a series of AEAD messages.

use std::hint::black_box;

use casemate_crypto::{
    Purpose,
    hpke::{HpkeSuite, RecipientContext, SenderContext},
    kem::KemPrivateKey,
    signature::SigningKey,
    suite::{MLDSA65_ED25519, MLKEM768_X25519},
};

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
const INFO: &[u8] = b"casemate/v1/round\0bench";

/// The keys of the two ends.
struct Ends {
    suite: HpkeSuite,
    receiver: KemPrivateKey,
    sender: SigningKey,
}

/// A running session, and the bytes on the wire that starting it took.
struct Session {
    sending: SenderContext,
    receiving: RecipientContext,
    started_bytes: u64,
}

impl Ends {
    fn new() -> Result<Self, BenchError> {
        Ok(Self {
            suite: HpkeSuite::of(&MLKEM768_X25519)?,
            receiver: KemPrivateKey::generate(&MLKEM768_X25519)?,
            sender: SigningKey::generate(&MLDSA65_ED25519)?,
        })
    }

    /// Starts a session: the sender encapsulates and signs, the receiver verifies and decapsulates.
    fn start(&self) -> Result<Session, BenchError> {
        let (enc, sending) = self.suite.setup_sender(self.receiver.public_key(), INFO)?;
        let signature = self.sender.sign(Purpose::ROUND, &enc)?;
        let verifying = self.sender.verifying_key();
        verifying.verify(Purpose::ROUND, &enc, &signature)?;
        let receiving = self.suite.setup_recipient(&enc, &self.receiver, INFO)?;
        Ok(Session {
            sending,
            receiving,
            started_bytes: (enc.len() + signature.len()) as u64,
        })
    }
}

impl Session {
    /// Sends one message from one end to the other through a reused buffer; returns its bytes on
    /// the wire.
    fn send(&mut self, message: &[u8], buffer: &mut Vec<u8>) -> Result<u64, BenchError> {
        buffer.clear();
        buffer.extend_from_slice(message);
        self.sending.seal_in_place(b"", buffer)?;
        let sent = buffer.len() as u64;
        self.receiving.open_in_place(b"", buffer)?;
        if black_box(buffer).len() == message.len() {
            return Ok(sent);
        }
        Err(BenchError::Check {
            algorithm: "gradient exchange".to_owned(),
            what: "message length",
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
    let ends = Ends::new()?;
    for size in SIZES.into_iter().filter(|size| *size <= largest) {
        let samples = samples(options.effort, size);
        let message = vec![0x42; size];
        let mut buffer = Vec::with_capacity(size + 16);
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
            let mut session = ends.start()?;
            first_bytes = session.started_bytes + session.send(&message, &mut buffer)?;
            Ok(())
        })?;
        let mut session = ends.start()?;
        let mut steady_bytes = 0;
        let steady = cpu(samples, || {
            steady_bytes = session.send(&message, &mut buffer)?;
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
