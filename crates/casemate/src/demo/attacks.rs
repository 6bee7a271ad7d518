//! Real attacks, which must all be refused.

use casemate_gateway::unix_seconds;
use casemate_message::{RequestId, RequestMark, Response, sign};

use super::{DemoServers, Sample, open_all, refusal};
use crate::{
    context::Context,
    fault::{Fault, Outcome},
};

pub(super) async fn run(
    context: &Context<'_>,
    stage: &DemoServers,
    artifact: &[u8],
    samples: &[Sample],
) -> Result<(), Fault> {
    let sample = samples
        .first()
        .ok_or_else(|| Fault::usage("there are no samples"))?;
    let show = |name: &str, said: Option<String>| {
        let said = said
            .ok_or_else(|| Fault::new(Outcome::CheckFailed, format!("{name} was NOT refused")))?;
        context
            .printer
            .line(&format!("  {name:<34} refused: {said}"));
        Ok::<_, Fault>(())
    };
    show("one flipped bit in the artifact", tampered(stage, artifact))?;
    show("an unsigned request", unsigned(stage, sample).await?)?;
    show(
        "a request sent twice with one id",
        replayed(stage, sample).await?,
    )?;
    let handshake = stage.classical_handshake().await;
    show(
        "a TLS client with X25519 only",
        handshake.err().map(|fault| fault.to_string()),
    )
}

fn tampered(stage: &DemoServers, artifact: &[u8]) -> Option<String> {
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

async fn unsigned(stage: &DemoServers, sample: &Sample) -> Result<Option<String>, Fault> {
    let request = stage.request(sample)?;
    let keys = stage.connector.fetch_keys().await?;
    let sealer = keys.config.start_request(&keys.signer_id).map_err(fault)?;
    let (sealed, opener) = sealer
        .seal(&request.to_bhttp().map_err(fault)?)
        .map_err(fault)?;
    let response = stage.connector.post(sealed, opener).await?;
    Ok((response.status == 401).then(|| said(&response)))
}

/// Sends the same request twice, as a replay or a retry forced by a hostile network would.
async fn replayed(stage: &DemoServers, sample: &Sample) -> Result<Option<String>, Fault> {
    let keys = stage.connector.fetch_keys().await?;
    let mark = RequestMark {
        id: RequestId::random()?,
        first: unix_seconds(),
        record: keys.record,
    };
    let send = async || {
        let mut request = stage.request(sample)?;
        let sealer = keys.config.start_request(&keys.signer_id).map_err(fault)?;
        let channel = sealer.channel().clone();
        sign::sign_request(&mut request, &stage.client, &channel, &mark, unix_seconds())
            .map_err(fault)?;
        let (sealed, opener) = sealer
            .seal(&request.to_bhttp().map_err(fault)?)
            .map_err(fault)?;
        let response = stage.connector.post(sealed, opener).await?;
        Ok::<_, Fault>(response)
    };
    let first = send().await?;
    if first.status != 200 {
        let message = format!("the first request got status {}", first.status);
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    let second = send().await?;
    Ok((second.status == 409).then(|| said(&second)))
}

/// Returns the status and message of a sealed error.
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
