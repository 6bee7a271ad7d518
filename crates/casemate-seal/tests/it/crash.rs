//! A rewrap that stops at any instant leaves the old recipients or the new ones.
//!
//! The file model keeps what was flushed apart from what was only written. A crash may lose any
//! suffix of the writes since the last flush, and may cut the last surviving one at any byte;
//! setting the length is atomic. Failure: an artifact that does not open for the old or for the new
//! recipient after the crash. Not a failure: bytes left over that the next rewrap removes.

use std::{io, sync::Mutex};

use casemate_seal::{Artifact, Durable, Origin, ReadAt, WriteAt, rewrap};

use crate::support::{KEM, OTHER_KEM, SIGNER, content, sealed};

#[derive(Clone)]
enum Operation {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// Records every operation since the start, with flushes as borders.
struct Recorder {
    now: Mutex<Vec<u8>>,
    since_flush: Mutex<Vec<Operation>>,
    /// State at each flush, with the operations that followed it.
    epochs: Mutex<Vec<(Vec<u8>, Vec<Operation>)>>,
    flushed: Mutex<Vec<u8>>,
}

impl Recorder {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            now: Mutex::new(bytes.clone()),
            since_flush: Mutex::default(),
            epochs: Mutex::default(),
            flushed: Mutex::new(bytes),
        }
    }
}

fn apply(state: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write(offset, bytes) => {
            let start = usize::try_from(*offset).unwrap();
            let end = start + bytes.len();
            if state.len() < end {
                state.resize(end, 0);
            }
            state[start..end].copy_from_slice(bytes);
        }
        Operation::SetLen(len) => state.resize(usize::try_from(*len).unwrap(), 0),
    }
}

impl ReadAt for Recorder {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.now.lock().unwrap().read_exact_at(out, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.now.lock().unwrap().len() as u64)
    }
}

impl WriteAt for Recorder {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let operation = Operation::Write(offset, bytes.to_vec());
        apply(&mut self.now.lock().unwrap(), &operation);
        self.since_flush.lock().unwrap().push(operation);
        Ok(())
    }
}

impl Durable for Recorder {
    fn flush_to_storage(&self) -> io::Result<()> {
        let operations = std::mem::take(&mut *self.since_flush.lock().unwrap());
        let mut flushed = self.flushed.lock().unwrap();
        self.epochs
            .lock()
            .unwrap()
            .push((flushed.clone(), operations));
        flushed.clone_from(&self.now.lock().unwrap());
        Ok(())
    }

    fn set_byte_len(&self, len: u64) -> io::Result<()> {
        let operation = Operation::SetLen(len);
        apply(&mut self.now.lock().unwrap(), &operation);
        self.since_flush.lock().unwrap().push(operation);
        Ok(())
    }
}

/// Every state a crash can leave; long writes are cut at every 97th byte and around their ends.
fn crashed_states(epochs: &[(Vec<u8>, Vec<Operation>)]) -> Vec<Vec<u8>> {
    let mut states = Vec::new();
    for (flushed, operations) in epochs {
        let mut state = flushed.clone();
        states.push(state.clone());
        for operation in operations {
            if let Operation::Write(offset, bytes) = operation {
                let near_end = bytes.len().saturating_sub(40)..bytes.len();
                for cut in (1..bytes.len()).filter(|cut| cut % 97 == 0 || near_end.contains(cut)) {
                    let mut torn = state.clone();
                    apply(&mut torn, &Operation::Write(*offset, bytes[..cut].to_vec()));
                    states.push(torn);
                    // The file system may extend the file before the data arrive.
                    let mut hollow = state.clone();
                    let mut zeros = bytes[..cut].to_vec();
                    zeros.resize(bytes.len(), 0);
                    apply(&mut hollow, &Operation::Write(*offset, zeros));
                    states.push(hollow);
                }
            }
            apply(&mut state, operation);
            states.push(state.clone());
        }
    }
    states
}

#[test]
fn every_instant_of_a_rewrap_leaves_the_old_or_the_new_recipients() {
    let before = sealed(&content(70_000));
    // Growing and shrinking tails take different ways.
    let grown = Recorder::new(before);
    rewrap(
        &grown,
        &KEM,
        Origin::Unchecked,
        &[KEM.public_key(), OTHER_KEM.public_key()],
    )
    .unwrap();
    let after = grown.now.lock().unwrap().clone();
    let shrunk = Recorder::new(after);
    rewrap(&shrunk, &KEM, Origin::Unchecked, &[OTHER_KEM.public_key()]).unwrap();

    let (mut old, mut new) = (0, 0);
    for (recorder, old_recipients, new_recipients) in [(&grown, 1, 2), (&shrunk, 2, 1)] {
        for state in crashed_states(&recorder.epochs.lock().unwrap()) {
            let artifact = Artifact::read(&state).unwrap();
            let recipients = artifact.recipients().len();
            assert!([old_recipients, new_recipients].contains(&recipients));
            if recipients == old_recipients {
                old += 1;
            } else {
                new += 1;
            }
            // Growing and shrinking share no final list, so one of the two keys opens every state.
            let key = if recipients == 1 && old_recipients == 2 {
                &*OTHER_KEM
            } else {
                &*KEM
            };
            let opened = artifact
                .open(key, Origin::SignedBy(SIGNER.verifying_key()))
                .unwrap();
            assert_eq!(
                *opened.read_all(u64::MAX, &|_| ()).unwrap(),
                content(70_000)
            );
        }
    }
    assert!(
        old > 50 && new > 50,
        "both outcomes occur: {old} old, {new} new"
    );
}

#[test]
fn what_the_cut_gives_back_is_blank() {
    let recorder = Recorder::new(sealed(&content(70_000)));
    rewrap(
        &recorder,
        &KEM,
        Origin::Unchecked,
        &[OTHER_KEM.public_key()],
    )
    .unwrap();
    let epochs = recorder.epochs.lock().unwrap();
    let (flushed, end) = epochs
        .iter()
        .find_map(|(flushed, operations)| match operations.as_slice() {
            [Operation::SetLen(len)] => Some((flushed, usize::try_from(*len).unwrap())),
            _ => None,
        })
        .expect("the cut is a step of its own");
    let released = &flushed[end..];
    assert!(released.len() > 1000, "{}", released.len());
    assert!(released.iter().all(|byte| *byte == 0));
}

#[test]
fn the_next_rewrap_removes_what_a_crash_left() {
    let before = sealed(&content(70_000));
    let recorder = Recorder::new(before);
    rewrap(
        &recorder,
        &KEM,
        Origin::Unchecked,
        &[KEM.public_key(), OTHER_KEM.public_key()],
    )
    .unwrap();
    let whole = recorder.now.lock().unwrap().len();
    for state in crashed_states(&recorder.epochs.lock().unwrap())
        .into_iter()
        .step_by(7)
    {
        let leftover = Artifact::read(&state).unwrap().leftover_len();
        let file = Recorder::new(state);
        let done = rewrap(
            &file,
            &KEM,
            Origin::Unchecked,
            &[KEM.public_key(), OTHER_KEM.public_key()],
        )
        .unwrap();
        assert_eq!(done.leftover_removed, leftover);
        let now = file.now.lock().unwrap().clone();
        assert_eq!(now.len(), whole);
        assert_eq!(Artifact::read(&now).unwrap().leftover_len(), 0);
    }
}
