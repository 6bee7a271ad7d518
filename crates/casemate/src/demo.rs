//! `casemate demo`: seals, serves and calls the included model, and trains another, through the
//! same public interfaces as every other command.

mod attacks;
mod plain;
mod rotation;
mod samples;
mod service;
mod stage;
mod training;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use casemate_environment::temporary_folder;
use casemate_seal::{
    Artifact, OpenError, Origin,
    scratch::{Naming, ScratchFolder, remove_abandoned},
};
use serde_json::json;

use crate::{
    args::DemoOptions,
    context::Context,
    fault::{Fault, Outcome},
    runtime::runtime,
    stop::Stop,
};
use samples::Sample;
use stage::DemoServers;

const MODEL: &[u8] = include_bytes!("../../../assets/digits/digits.onnx");

pub(crate) fn run(context: &Context<'_>, options: &DemoOptions) -> Result<(), Fault> {
    let stop = Stop::take_over();
    let folder = scratch()?;
    let say = |text: &str| context.printer.line(text);
    let io_fault = |error: io::Error| Fault::from_error(Outcome::Io, error);
    say("Casemate: a real model, sealed, served and called with hybrid post-quantum cryptography.");
    say(
        "The model reads handwritten digits (98.3 % accuracy on held-out images; see assets/digits).\n",
    );

    let (keys, artifact_path) = seal(context, folder.path())?;
    let bytes = fs::read(&artifact_path).map_err(io_fault)?;
    let runtime = runtime()?;
    let show = async {
        let started = Instant::now();
        let stage = DemoServers::start(keys, &artifact_path).await?;
        let where_to = format!("gateway on {}, connector on {}", stage.gateway, stage.local);
        step(context, "serve", &where_to, started, "model in memory only");

        let samples = samples::all()?;
        predict(context, &stage, &samples).await?;
        train(context)?;
        say("\nWhat an attacker might try, and what happens:");
        attacks::run(context, &stage, &bytes, &samples).await?;
        invite(context, &stage, options, &samples);
        Ok::<_, Fault>(stage)
    };
    runtime.block_on(async {
        let stage = tokio::select! {
            shown = show => shown?,
            () = stop.requested() => {
                return Err(Fault::new(Outcome::Io, "stopped before the demo ended"));
            }
        };
        if !options.exit {
            stop.requested().await;
        }
        drop(stage);
        Ok(())
    })
}

/// Makes the keys, seals and verifies the model and rotates its key; returns the artifact's path.
fn seal(context: &Context<'_>, folder: &Path) -> Result<(stage::Keys, PathBuf), Fault> {
    let started = Instant::now();
    let mut keys = stage::Keys::create(folder)?;
    step(
        context,
        "keys",
        "4 key pairs in an encrypted key store",
        started,
        "under a random key, with an audit log",
    );

    let started = Instant::now();
    let artifact_path = folder.join("digits.onnx.sealed");
    let artifact_len = stage::seal_model(MODEL, &artifact_path, &keys)?;
    let added = artifact_len.saturating_sub(MODEL.len() as u64);
    let cost = format!("{} B + {added} B", MODEL.len());
    step(
        context,
        "seal",
        "encrypted to mlkem1024-p384, signed mldsa87-p384",
        started,
        &cost,
    );

    let started = Instant::now();
    let bytes = fs::read(&artifact_path).map_err(|error| Fault::from_error(Outcome::Io, error))?;
    let artifact = Artifact::read(bytes.as_slice())?;
    artifact.verify_signature(keys.publisher.verifying_key())?;
    artifact.verify_segments(&|_| ())?;
    step(
        context,
        "verify",
        "both halves of the signature, every segment",
        started,
        "no private key needed",
    );

    let started = Instant::now();
    let entries = rotation::run(&mut keys, &artifact_path)?;
    step(
        context,
        "rotate",
        "new version of the key, model rewrapped, old version disabled",
        started,
        &format!("{entries} entries in the audit log"),
    );

    let started = Instant::now();
    let bytes = fs::read(&artifact_path).map_err(|error| Fault::from_error(Outcome::Io, error))?;
    service::run(&keys, context.policy()?, folder, &bytes)?;
    step(
        context,
        "lend",
        "a client of the key service opens the model, without its key",
        started,
        "mutual TLS, one grant",
    );
    Ok((keys, artifact_path))
}

/// Prints a line for each step: its name, what it does, how long it takes and what it costs.
fn step(context: &Context<'_>, name: &str, what: &str, started: Instant, cost: &str) {
    let ms = started.elapsed().as_secs_f64() * 1e3;
    context
        .printer
        .line(&format!("  {name:<8} {what:<62} {ms:>8.1} ms   {cost}"));
}

async fn predict(
    context: &Context<'_>,
    stage: &DemoServers,
    samples: &[Sample],
) -> Result<(), Fault> {
    // The first request also opens the TLS connection, so it is measured separately.
    let started = Instant::now();
    plain::predict(
        stage.local,
        &stage.token,
        samples.get(..1).unwrap_or_default(),
    )
    .await?;
    step(
        context,
        "connect",
        &format!("TLS 1.3 handshake ({}) and first request", stage.group),
        started,
        "once",
    );

    let mut right = 0usize;
    let mut times = Vec::with_capacity(samples.len());
    let mut shown = String::new();
    for sample in samples {
        let started = Instant::now();
        let predicted =
            plain::predict(stage.local, &stage.token, std::slice::from_ref(sample)).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        let predicted = predicted.first().copied();
        right = right.saturating_add(usize::from(predicted == Some(sample.label)));
        shown += &predicted.map_or_else(|| "?".to_owned(), |digit| digit.to_string());
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let count = samples.len();
    let (request, response) = stage.message_overhead(samples)?;
    context.printer.line(&format!(
        "  {:<8} {:<62} {median:>8.1} ms   +{request} B out, +{response} B back",
        "predict",
        format!("{right} of {count} held-out images correct (median of {count} requests)"),
    ));
    let labels: String = samples
        .iter()
        .map(|sample| sample.label.to_string())
        .collect();
    context.printer.line(&format!(
        "           read      {shown}\n           truth     {labels}"
    ));
    if right.saturating_mul(10) < count.saturating_mul(9) {
        return Err(Fault::new(
            Outcome::CheckFailed,
            format!("only {right} of {count} predictions are correct"),
        ));
    }
    Ok(())
}

/// Trains a model of several clients, whose updates the server does not see.
fn train(context: &Context<'_>) -> Result<(), Fault> {
    let started = Instant::now();
    let trained = training::run()?;
    let what = format!(
        "another model: {} rounds of {} clients, mean updates only",
        trained.rounds, trained.clients
    );
    let cost = format!(
        "{} B an update, {} B as 32-bit floats",
        trained.masked_bytes, trained.plain_bytes
    );
    step(context, "train", &what, started, &cost);
    context.printer.line(&format!(
        "           {:.1} % of held-out images correct, {:.1} % without secure aggregation",
        trained.accuracy, trained.plain
    ));
    if (trained.accuracy - trained.plain).abs() > 0.5 {
        return Err(Fault::new(
            Outcome::CheckFailed,
            "secure aggregation changed the accuracy by more than half a point",
        ));
    }
    Ok(())
}

/// Shows a request to try, unless the server is about to stop.
fn invite(context: &Context<'_>, stage: &DemoServers, options: &DemoOptions, samples: &[Sample]) {
    let Some(sample) = samples.first().filter(|_| !options.exit) else {
        return;
    };
    let body = json!({ "instances": [sample.image] });
    context.printer.line(&format!(
        "\nTry it yourself (the connector seals and signs the plain request that you send over loopback):\n\n  curl -s http://{}/predict -H 'authorization: Bearer {}' -H 'content-type: application/json' -d '{body}'\n",
        stage.local, stage.token
    ));
    context.printer.line("Serving until Ctrl-C.");
}

/// Creates a temporary folder that is removed when the demo ends.
fn scratch() -> Result<ScratchFolder, Fault> {
    let naming = Naming {
        prefix: "casemate-demo-".into(),
        suffix: "",
    };
    let parent = temporary_folder();
    remove_abandoned(&parent, &naming, &|_| true);
    ScratchFolder::create(&parent, &naming)
        .map_err(|error| Fault::file("create a private folder in", &parent, error))
}

/// Returns the error's message; `None` if opening succeeded.
fn refusal(result: Result<(), OpenError>) -> Option<String> {
    result.err().map(|error| error.to_string())
}

/// Opens the whole artifact with every check enabled.
fn open_all(
    bytes: &[u8],
    key: &casemate_crypto::kem::KemPrivateKey,
    publisher: &casemate_crypto::signature::VerifyingKey,
) -> Result<(), OpenError> {
    let artifact = Artifact::read(bytes)?;
    artifact
        .open(key, Origin::SignedBy(publisher))?
        .read_all(1 << 30, &|_| ())
        .map(|_| ())
}
