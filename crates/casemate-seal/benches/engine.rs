//! What the engine costs beside the cryptography that it cannot do without, and what it reads of an
//! artifact that is far longer than memory.
//!
//! ```text
//! cargo bench -p casemate-seal --bench engine -- [--bytes 1000000000] [--rounds 7] [--far 100000000000]
//! ```
//!
//! The baseline runs in the same process, in turn with the engine: AES-256-GCM and BLAKE3 over one
//! segment after the other, on all cores, in a buffer that stays in the cache. Where a processor is
//! so fast that memory is what limits it, the second line says more: the same, with each segment
//! read from memory and written to memory. `--far` seals that many bytes of a made-up content and
//! keeps no more of the artifact than a reader of one tensor needs.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that fails is looked at by whoever runs it"
)]

use std::{
    collections::BTreeMap,
    env, io,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey, suite};
use casemate_seal::{
    Artifact, HashAlgorithm, Origin, Private, ReadAt, SealOptions, Sealed, SegmentSize, WriteAt,
    seal,
};

const SEGMENT: usize = 1 << 20;

fn main() {
    let (bytes, rounds) = (option("--bytes", 1_000_000_000), option("--rounds", 7));
    let keys = Keys::new();
    if let Some(far) = given("--far") {
        keys.far(far);
        return;
    }
    let content = vec![0x5a; bytes as usize];
    let target = Memory::new(bytes as usize + (bytes as usize >> 7) + (1 << 20));
    let mut plain = vec![0; content.len()];
    let names = [
        "AES-256-GCM and BLAKE3",
        "from memory to memory",
        "seal",
        "open",
        "verify",
    ];
    let mut seconds = vec![Vec::new(); names.len()];
    for _ in 0..rounds {
        seconds[0].push(timed(|| baseline(bytes, |_, _| ())));
        seconds[1].push(timed(|| {
            baseline(bytes, |at, segment| {
                let len = segment.len().min(content.len() - at);
                segment[..len].copy_from_slice(&content[at..at + len]);
                target.write_all_at(&segment[..len], at as u64).unwrap();
            });
        }));
        seconds[2].push(timed(|| drop(keys.seal(&*content, &target))));
        let artifact = Artifact::read(&target).unwrap();
        let signer = Origin::SignedBy(keys.signer.verifying_key());
        seconds[3].push(timed(|| {
            let opened = artifact.open(&keys.kem, signer).unwrap();
            opened.read_at(&mut plain, 0).unwrap();
        }));
        assert!(plain == content);
        seconds[4].push(timed(|| artifact.verify_segments(&|_| ()).unwrap()));
    }
    let medians: Vec<_> = seconds.iter_mut().map(|s| median(s)).collect();
    println!("{bytes} bytes, median of {rounds}, memory to memory");
    for (name, median) in names.iter().zip(&medians) {
        let rate = bytes as f64 / median / 1e9;
        println!(
            "{name:24} {median:7.3} s {rate:6.2} GB/s {:5.2} of the first, {:5.2} of the second",
            medians[0] / median,
            medians[1] / median
        );
    }
}

fn given(name: &str) -> Option<u64> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map(|value| value.parse().unwrap())
}

fn option(name: &str, default: u64) -> u64 {
    given(name).unwrap_or(default)
}

fn timed(job: impl FnOnce()) -> f64 {
    let start = Instant::now();
    job();
    start.elapsed().as_secs_f64()
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// As much of the two primitives as sealing needs; `moved` is called with each segment's offset.
fn baseline(bytes: u64, moved: impl Fn(usize, &mut [u8]) + Sync) {
    let segments = bytes.div_ceil(SEGMENT as u64);
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
                let mut segment = vec![0; SEGMENT];
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= segments {
                        return;
                    }
                    let nonce = Nonce::assume_unique_for_key([0; 12]);
                    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut segment);
                    _ = std::hint::black_box((tag.unwrap(), blake3::hash(&segment)));
                    moved(index as usize * SEGMENT, &mut segment);
                }
            });
        }
    });
}

struct Keys {
    kem: KemPrivateKey,
    signer: SigningKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            kem: KemPrivateKey::generate(&suite::MLKEM768_X25519).unwrap(),
            signer: SigningKey::generate(&suite::MLDSA65_ED25519).unwrap(),
        }
    }

    fn seal<S: ReadAt + ?Sized>(&self, content: &S, target: &impl WriteAt) -> Sealed {
        let options = SealOptions {
            recipients: &[self.kem.public_key()],
            signer: Some(&self.signer),
            segment_size: SegmentSize::default(),
            hash: HashAlgorithm::Blake3,
            created: 1,
            content_type: "application/octet-stream",
            revision: None,
            private: &Private::default(),
            owner: None,
            public_part: &[],
            digest_content: false,
        };
        seal(&content, target, &options, &|_| ()).unwrap()
    }

    /// Reads 4 KiB out of the middle of a long artifact, of which only what that needs was kept.
    fn far(&self, bytes: u64) {
        let kept = Kept {
            wanted: bytes / 2,
            parts: Mutex::default(),
            reads: Mutex::default(),
            end: AtomicU64::new(0),
        };
        let content = Made(bytes);
        let mut sealed = None;
        let seconds = timed(|| sealed = Some(self.seal(&content, &kept)));
        let sealed = sealed.unwrap();
        println!("sealed {bytes} bytes in {seconds:.1} s");
        let mut out = [0; 4096];
        let seconds = timed(|| {
            let artifact = Artifact::read(&kept).unwrap();
            let signer = Origin::SignedBy(self.signer.verifying_key());
            let opened = artifact.open(&self.kem, signer).unwrap();
            opened.read_at(&mut out, kept.wanted).unwrap();
        });
        assert_eq!(out, content.at(kept.wanted));
        println!(
            "opened and read 4096 bytes of an artifact of {} in {:.1} ms:",
            sealed.artifact_len,
            seconds * 1e3
        );
        for (offset, len) in kept.reads.lock().unwrap().iter() {
            println!("  {len} bytes at {offset}");
        }
    }
}

/// A buffer of which threads write different parts.
struct Memory {
    blocks: Vec<Mutex<Vec<u8>>>,
    end: AtomicU64,
}

impl Memory {
    fn new(bytes: usize) -> Self {
        let blocks = bytes.div_ceil(SEGMENT);
        Self {
            // Every page is touched: what the system takes to find them is not what is measured.
            blocks: (0..blocks).map(|_| Mutex::new(vec![1; SEGMENT])).collect(),
            end: AtomicU64::new(0),
        }
    }

    /// Cuts a range at the borders of blocks.
    fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = offset as usize + done;
            let (block, skip) = (at / SEGMENT, at % SEGMENT);
            let take = (SEGMENT - skip).min(len - done);
            let from = done;
            done += take;
            (take > 0).then_some((block, skip, from, take))
        })
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        for (block, skip, from, take) in Self::pieces(offset, bytes.len()) {
            let mut block = self.blocks[block].lock().unwrap();
            block[skip..skip + take].copy_from_slice(&bytes[from..from + take]);
        }
        self.end
            .fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl ReadAt for Memory {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        for (block, skip, from, take) in Self::pieces(offset, out.len()) {
            let block = self.blocks[block].lock().unwrap();
            out[from..from + take].copy_from_slice(&block[skip..skip + take]);
        }
        Ok(())
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.end.load(Ordering::Relaxed))
    }
}

/// A content that is nowhere: eight bytes of each offset's number.
struct Made(u64);

impl Made {
    fn at<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut out = [0; N];
        self.read_exact_at(&mut out, offset).unwrap();
        out
    }
}

impl ReadAt for Made {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        for (number, word) in out.chunks_mut(8).enumerate() {
            let value = (offset / 8 + number as u64).to_le_bytes();
            word.copy_from_slice(&value[..word.len()]);
        }
        Ok(())
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0)
    }
}

/// The start, the segment around one offset, and the tail of an artifact; notes what is read, and
/// fails for anything else.
struct Kept {
    wanted: u64,
    parts: Mutex<BTreeMap<u64, Vec<u8>>>,
    reads: Mutex<Vec<(u64, usize)>>,
    end: AtomicU64,
}

impl WriteAt for Kept {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.end.fetch_max(end, Ordering::Relaxed);
        // The wanted offset moves back by what the segments before it add, less than a segment of
        // which there are so many.
        let near = offset.abs_diff(self.wanted) < self.wanted / 10_000 + 3 * SEGMENT as u64;
        if offset == 0 || near || bytes.len() > SEGMENT + 64 {
            self.parts.lock().unwrap().insert(offset, bytes.to_vec());
        }
        Ok(())
    }
}

impl ReadAt for Kept {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.lock().unwrap().push((offset, out.len()));
        let parts = self.parts.lock().unwrap();
        let (start, part) = parts.range(..=offset).next_back().unwrap();
        let skip = (offset - start) as usize;
        let found = part
            .get(skip..)
            .and_then(|rest| rest.get(..out.len()))
            .ok_or_else(|| io::Error::other(format!("{} bytes at {offset} are gone", out.len())))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.end.load(Ordering::Relaxed))
    }
}
