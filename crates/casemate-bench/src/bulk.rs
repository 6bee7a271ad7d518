//! Symmetric throughput, compared with the limits of the hardware: copying memory, and AES rounds
//! alone.

use std::{
    hint::black_box,
    sync::Barrier,
    time::{Duration, Instant},
};

#[cfg(feature = "catalogue")]
use aegis::aegis256::Aegis256;
use aes::{
    Aes256,
    cipher::{Block, BlockCipherEncrypt, KeyInit},
};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    digest::{self, SHA256, SHA384},
};
use fast_floe::{
    Key as FloeKey, Parameters,
    low_level::{SEGMENT_PAYLOAD_OFFSET, start_encryption},
};

use crate::{BenchError, Effort, Options, machine, rows::Bulk, stats};

/// Bytes per call: the length of a segment of a sealed artifact, so that the data stay in the
/// cache.
const CALL_BYTES: usize = 1 << 20;
const MEMCPY: &str = "memcpy";
const AES_ROUNDS: &str = "AES-256 rounds";

/// One call on a thread's own data.
type Call = Box<dyn FnMut()>;
type MakeCall = fn() -> Result<Call, BenchError>;

/// Name, limiting row, and constructor of a thread's call.
const ALGORITHMS: &[(&str, Option<&str>, MakeCall)] = &[
    (MEMCPY, None, || Ok(memcpy())),
    (AES_ROUNDS, None, || Ok(aes_rounds())),
    ("AES-256-GCM", Some(AES_ROUNDS), || aead(&AES_256_GCM)),
    ("FLOE", Some(AES_ROUNDS), floe),
    #[cfg(feature = "catalogue")]
    ("AEGIS-256", Some(MEMCPY), || Ok(aegis())),
    ("ChaCha20-Poly1305", Some(MEMCPY), || {
        aead(&CHACHA20_POLY1305)
    }),
    ("BLAKE3", Some(MEMCPY), || Ok(blake3())),
    ("SHA-256", Some(MEMCPY), || Ok(sha(&SHA256))),
    ("SHA-384", Some(MEMCPY), || Ok(sha(&SHA384))),
];

pub(crate) fn measure(options: &Options) -> Result<Vec<Bulk>, BenchError> {
    let (samples, length) = match options.effort {
        Effort::Quick => (3, Duration::from_millis(4)),
        Effort::Standard => (9, Duration::from_millis(60)),
        Effort::Thorough => (31, Duration::from_millis(150)),
    };
    let mut threads = vec![1];
    if machine::cores() > 1 {
        threads.push(machine::cores());
    }
    let wanted: Vec<_> = ALGORITHMS
        .iter()
        .filter(|(name, limit, _)| {
            options.wants("bulk", name) || limit.is_none() && options.wants("bulk", "")
        })
        .collect();
    let mut figures = vec![Vec::new(); wanted.len() * threads.len()];
    // Take one sample of each in turn, so that a slow phase of the machine affects all of them.
    for _ in 0..samples {
        let mut at = 0;
        for (_, _, make) in &wanted {
            for count in &threads {
                let rate = throughput(*count, *make, length)?;
                if let Some(figure) = figures.get_mut(at) {
                    figure.push(rate);
                }
                at += 1;
            }
        }
    }
    let mut figures = figures.into_iter();
    let mut rows = Vec::new();
    for (name, limit, _) in wanted {
        for count in &threads {
            let timing = stats::timing(figures.next().unwrap_or_default());
            rows.push(Bulk {
                name: (*name).to_owned(),
                threads: *count,
                gb_per_second: timing.median_us,
                mad: timing.mad_us,
                limit: limit.map(str::to_owned),
                percent_of_limit: None,
            });
        }
    }
    let limits = rows.clone();
    for row in &mut rows {
        let limit = limits
            .iter()
            .find(|other| Some(&other.name) == row.limit.as_ref() && other.threads == row.threads);
        row.percent_of_limit = limit.map(|limit| 100.0 * row.gb_per_second / limit.gb_per_second);
    }
    Ok(rows)
}

/// Returns the throughput in GB/s of `count` threads together, each on its own data.
fn throughput(count: usize, make: MakeCall, length: Duration) -> Result<f64, BenchError> {
    let barrier = Barrier::new(count);
    let one = || -> Result<f64, BenchError> {
        let made = make();
        if let Ok(mut call) = made {
            call();
            barrier.wait();
            let started = Instant::now();
            let mut calls = 0_u32;
            while started.elapsed() < length {
                call();
                calls += 1;
            }
            let bytes = f64::from(calls) * CALL_BYTES as f64;
            Ok(bytes / started.elapsed().as_secs_f64() / 1e9)
        } else {
            barrier.wait();
            made.map(|_| 0.0)
        }
    };
    if count == 1 {
        return one();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        let mut total = 0.0;
        for handle in handles {
            total += handle
                .join()
                .map_err(|_| std::io::Error::other("a measuring thread stopped early"))??;
        }
        Ok(total)
    })
}

fn data() -> Vec<u8> {
    // Written once, so that timing includes no page faults.
    vec![0x3c; CALL_BYTES]
}

fn memcpy() -> Call {
    let (from, mut to) = (data(), data());
    Box::new(move || {
        black_box(&mut to).copy_from_slice(black_box(&from));
    })
}

fn aes_rounds() -> Call {
    let cipher = Aes256::new(&[1; 32].into());
    let mut blocks = vec![Block::<Aes256>::default(); CALL_BYTES / 16];
    Box::new(move || {
        cipher.encrypt_blocks(&mut blocks);
        black_box(&blocks);
    })
}

fn aead(algorithm: &'static aws_lc_rs::aead::Algorithm) -> Result<Call, BenchError> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &[1; 32])?);
    let mut buffer = data();
    let mut count = 0_u64;
    Ok(Box::new(move || {
        count += 1;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&count.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer);
        _ = black_box(tag.is_ok());
    }))
}

fn floe() -> Result<Call, BenchError> {
    let check = |what| BenchError::Check {
        algorithm: "FLOE".to_owned(),
        what,
    };
    let key = FloeKey::try_from(&[1; 32][..]).map_err(|_| check("key"))?;
    let overhead = 32;
    let length = u32::try_from(CALL_BYTES + overhead).map_err(|_| check("length"))?;
    let parameters = Parameters::with_segment_length(length).map_err(|_| check("parameters"))?;
    let (state, _) = start_encryption(&key, b"", parameters).map_err(|_| check("start"))?;
    let mut context = state.into_shared().fork();
    let layout = parameters
        .plaintext_layout(2 * CALL_BYTES as u64)
        .map_err(|_| check("layout"))?;
    let segment = layout
        .segment_for_position(0)
        .ok_or_else(|| check("segment"))?;
    let mut buffer = vec![0; segment.ciphertext_length()];
    let whole = buffer.len() > CALL_BYTES + SEGMENT_PAYLOAD_OFFSET;
    context
        .encrypt_segment_in_place_raw(&mut buffer, segment)
        .map_err(|_| check("encryption"))?;
    if !whole {
        return Err(check("segment length"));
    }
    Ok(Box::new(move || {
        _ = black_box(
            context
                .encrypt_segment_in_place_raw(&mut buffer, segment)
                .is_ok(),
        );
    }))
}

#[cfg(feature = "catalogue")]
fn aegis() -> Call {
    let mut buffer = data();
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        let mut nonce = [0; 32];
        nonce[24..].copy_from_slice(&count.to_be_bytes());
        let tag = Aegis256::<16>::new(&[1; 32], &nonce).encrypt_in_place(&mut buffer, b"");
        black_box(tag);
    })
}

fn blake3() -> Call {
    let buffer = data();
    Box::new(move || _ = black_box(::blake3::hash(&buffer)))
}

fn sha(algorithm: &'static digest::Algorithm) -> Call {
    let buffer = data();
    Box::new(move || {
        black_box(digest::digest(algorithm, &buffer));
    })
}
