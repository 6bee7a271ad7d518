//! What must be refused, tried for real.

use casemate_gateway::{ConnectError, unix_seconds};
use casemate_message::{Response, ohttp::ResponseOpener, sign};

use super::{Sample, Stage, open_all, refusal};
use crate::{
    context::Context,
    fault::{Fault, Outcome},
};

pub(super) async fn run(
    context: &Context<'_>,
    stage: &Stage,
    artifact: &[u8],
    samples: &[Sample],
) -> Result<(), Fault> {
    let sample = samples
        .first()
        .ok_or_else(|| Fault::usage("there are no samples"))?;
    let show = |name: &str, said: Option<String>| {
        let said =
            said.ok_or_else(|| Fault::new(Outcome::No, format!("{name} was NOT refused")))?;
        context
            .printer
            .line(&format!("  {name:<34} refused: {said}"));
        Ok::<_, Fault>(())
    };
    show("one flipped bit in the artifact", tampered(stage, artifact))?;
    show("a request nobody signed", unsigned(stage, sample).await?)?;
    show(
        "a recorded request sent again",
        replayed(stage, sample).await?,
    )?;
    let handshake = stage.classical_handshake().await;
    show(
        "a TLS client without post-quantum",
        handshake.err().map(|fault| fault.to_string()),
    )
}

fn tampered(stage: &Stage, artifact: &[u8]) -> Option<String> {
    let mut bytes = artifact.to_vec();
    if let Some(byte) = bytes.get_mut(artifact.len() / 4) {
        *byte ^= 1;
    }
    refusal(open_all(
        &bytes,
        &stage.model,
        stage.publisher.verifying_key(),
    ))
}

async fn unsigned(stage: &Stage, sample: &Sample) -> Result<Option<String>, Fault> {
    let request = stage.request(sample)?;
    let keys = stage.connector.keys().await?;
    let sealer = keys.config.start_request().map_err(fault)?;
    let (sealed, opener) = sealer
        .seal(&request.to_bhttp().map_err(fault)?)
        .map_err(fault)?;
    let response = stage.connector.post(sealed, opener).await?;
    Ok((response.status == 401).then(|| said(&response)))
}

async fn replayed(stage: &Stage, sample: &Sample) -> Result<Option<String>, Fault> {
    let (sealed, opener) = signed(stage, sample).await?;
    let first = stage.connector.post(sealed.clone(), opener).await?;
    if first.status != 200 {
        return Err(Fault::new(
            Outcome::No,
            format!("the first request got status {}", first.status),
        ));
    }
    let (_, unused) = signed(stage, sample).await?;
    match stage.connector.post(sealed, unused).await {
        Err(ConnectError::Refused { status, title, .. }) => Ok(Some(format!("{status}, {title}"))),
        _ => Ok(None),
    }
}

async fn signed(stage: &Stage, sample: &Sample) -> Result<(Vec<u8>, ResponseOpener), Fault> {
    let mut request = stage.request(sample)?;
    let keys = stage.connector.keys().await?;
    let sealer = keys.config.start_request().map_err(fault)?;
    let channel = sealer.channel().clone();
    sign::sign_request(&mut request, &stage.client, &channel, unix_seconds()).map_err(fault)?;
    sealer
        .seal(&request.to_bhttp().map_err(fault)?)
        .map_err(fault)
}

/// Status and message of a sealed error.
fn said(response: &Response) -> String {
    let body: serde_json::Value = serde_json::from_slice(&response.content).unwrap_or_default();
    let message = body
        .pointer("/error/message")
        .and_then(serde_json::Value::as_str);
    format!("{}, {}", response.status, message.unwrap_or_default())
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::from_error(Outcome::Io, error)
}
