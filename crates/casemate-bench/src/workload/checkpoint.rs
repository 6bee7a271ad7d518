//! Checkpoints: the bytes that sealing adds, calculated and measured, and the time compared with a
//! plain copy.

use std::{fs::File, io::Write, path::Path, time::Instant};

use casemate_crypto::{
    kem::KemPrivateKey,
    signature::SigningKey,
    suite::{MLDSA87_P384, MLKEM1024_P384},
};
use casemate_seal::{
    Artifact, HashAlgorithm, Origin, Private, SealOptions, SegmentSize, file, seal,
};

use crate::{BenchError, Effort, Options, Report, rows::Checkpoint, stats};

const MB: u64 = 1_000_000;
const SIZES: [u64; 5] = [10 * MB, 100 * MB, 1_000 * MB, 2_000 * MB, 10_000 * MB];

struct Keys {
    recipient: KemPrivateKey,
    signer: SigningKey,
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    if !options.wants("checkpoint", "") && !options.wants("workload", "") {
        return Ok(());
    }
    let keys = Keys {
        recipient: KemPrivateKey::generate(&MLKEM1024_P384)?,
        signer: SigningKey::generate(&MLDSA87_P384)?,
    };
    let (largest, samples) = match options.effort {
        Effort::Quick => (10 * MB, 1),
        Effort::Standard => (1_000 * MB, 3),
        Effort::Thorough => (2_000 * MB, 5),
    };
    let folder = tempfile::tempdir_in(&options.folder)?;
    let fixed = fixed_bytes(&keys, folder.path())?;
    for size in SIZES {
        let formula = formula(size, fixed);
        let mut row = Checkpoint {
            content_bytes: size,
            artifact_bytes_formula: formula,
            artifact_bytes: None,
            overhead_percent: 100.0 * (formula - size) as f64 / size as f64,
            seal: None,
            copy: None,
            open: None,
        };
        if size <= largest {
            if free_bytes(folder.path()) > 4 * size {
                time(&keys, folder.path(), samples, &mut row)?;
            } else {
                report.notes.push(format!(
                    "{} has too little space to seal {size} bytes; choose another folder with `--folder`",
                    options.folder.display()
                ));
            }
        }
        report.checkpoints.push(row);
    }
    Ok(())
}

/// Returns the length of an artifact: the content, 64 bytes for each segment, and `fixed` bytes
/// (`spec/sealed-artifact.md`, sections 2 and 5).
fn formula(content: u64, fixed: u64) -> u64 {
    let segment = u64::from(SegmentSize::default().bytes());
    content + 64 * content.div_ceil(segment).max(1) + fixed
}

/// Returns the overhead that does not depend on the length of the content.
fn fixed_bytes(keys: &Keys, folder: &Path) -> Result<u64, BenchError> {
    let content = folder.join("small");
    std::fs::write(&content, b"x")?;
    let sealed = seal_file(keys, &content, &folder.join("small.sealed"))?;
    Ok(sealed - 1 - 64)
}

fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn seal_file(keys: &Keys, from: &Path, to: &Path) -> Result<u64, BenchError> {
    let recipients = [keys.recipient.public_key()];
    let options = SealOptions {
        recipients: &recipients,
        signer: Some(&keys.signer),
        segment_size: SegmentSize::default(),
        hash: HashAlgorithm::Blake3,
        created: 0,
        content_type: "application/octet-stream",
        private: &Private::default(),
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    let source = File::open(from)?;
    let sink = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    Ok(seal(&source, &sink, &options, &|_| ())?.artifact_len)
}

fn time(
    keys: &Keys,
    folder: &Path,
    samples: usize,
    row: &mut Checkpoint,
) -> Result<(), BenchError> {
    let [content, copied, sealed] = ["content", "copied", "sealed"].map(|name| folder.join(name));
    write_content(&content, row.content_bytes)?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..samples {
        let [copies, seals, opens] = &mut times;
        copies.push(micros(|| {
            std::fs::copy(&content, &copied)?;
            Ok(())
        })?);
        seals.push(micros(|| {
            row.artifact_bytes = Some(seal_file(keys, &content, &sealed)?);
            Ok(())
        })?);
        opens.push(micros(|| {
            let artifact = Artifact::read(file::open_shared(&sealed)?)?;
            let origin = Origin::SignedBy(keys.signer.verifying_key());
            let opened = artifact.open(&keys.recipient, origin)?;
            opened.copy_to(&Discard, &|_| ())?;
            Ok(())
        })?);
    }
    let [copies, seals, opens] = times.map(stats::timing);
    (row.copy, row.seal, row.open) = (Some(copies), Some(seals), Some(opens));
    for path in [content, copied, sealed] {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Discards verified content.
struct Discard;

impl casemate_seal::WriteAt for Discard {
    fn write_all_at(&self, bytes: &[u8], _: u64) -> std::io::Result<()> {
        std::hint::black_box(bytes);
        Ok(())
    }
}

fn micros(mut action: impl FnMut() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let started = Instant::now();
    action()?;
    Ok(started.elapsed().as_secs_f64() * 1e6)
}

fn write_content(path: &Path, bytes: u64) -> Result<(), BenchError> {
    let mut part = vec![0; 1 << 20];
    casemate_crypto::random::fill(&mut part)?;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut left = bytes;
    while left > 0 {
        let now = left.min(part.len() as u64);
        let now_len = usize::try_from(now).unwrap_or(part.len());
        file.write_all(part.get(..now_len).unwrap_or_default())?;
        left -= now;
    }
    file.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_matches_a_real_artifact_within_a_few_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys {
            recipient: KemPrivateKey::generate(&MLKEM1024_P384).unwrap(),
            signer: SigningKey::generate(&MLDSA87_P384).unwrap(),
        };
        let fixed = fixed_bytes(&keys, folder.path()).unwrap();
        let content = folder.path().join("content");
        write_content(&content, 3_500_000).unwrap();
        let sealed = seal_file(&keys, &content, &folder.path().join("sealed")).unwrap();
        // DER signatures and CBOR lengths each vary by a few bytes.
        assert!(formula(3_500_000, fixed).abs_diff(sealed) < 16);
        assert_eq!(formula(1, 0), 65);
    }
}
