//! Every refusal of the protocol (`spec/inference.md`, section 6.2).

use std::fmt;

/// The meaning of a refusal for the attempt that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing: it may be forged.
    Hint,
    /// The attempt did not run and never will.
    Never,
    /// The attempt will not run; an earlier one with its request id was admitted or marked.
    Ran,
    /// The attempt will not run from now on; it is unknown whether it or an earlier one ran.
    Unknown,
    /// The attempt did not run, and would if it were delivered again.
    NotYet,
}

impl Effect {
    /// Returns the name that the specification uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Never => "never",
            Self::Ran => "ran",
            Self::Unknown => "unknown",
            Self::NotYet => "not-yet",
        }
    }
}

/// The reason why a request does not reach the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is nothing at this path.
    NotFound,
    /// The path does not have this method.
    Method,
    /// The content is not an encapsulated request.
    MediaType,
    /// The request is too long.
    TooLong,
    /// Too many requests are being received.
    Busy,
    /// The request did not arrive in time.
    Timeout,
    /// The gateway failed.
    Internal,
    /// The key configuration is not known.
    Key,
    /// The encapsulated request cannot be opened.
    Request,
    /// The opened request is not a message of this protocol.
    Message,
    /// The date is too old.
    Late,
    /// The date is ahead of the gateway's clock.
    Early,
    /// The date is more than an hour ahead of the gateway's clock.
    FarAhead,
    /// The signatures do not verify, or their key is not admitted.
    Signature,
    /// The client may not use this method and path.
    NotAllowed,
    /// A request with this id was admitted before.
    Duplicate,
    /// The first attempt may have run at another gateway, or so long ago that its mark is gone.
    OutcomeUnknown,
    /// The record has no room for this client.
    RecordFull,
}

/// One row of the table: code, status, problem type outside the encryption, effect, and message.
struct Row(
    &'static str,
    u16,
    Option<&'static str>,
    Effect,
    &'static str,
);

impl Refusal {
    /// All refusals, those outside the encryption first.
    pub const ALL: [Self; 18] = [
        Self::NotFound,
        Self::Method,
        Self::MediaType,
        Self::TooLong,
        Self::Busy,
        Self::Timeout,
        Self::Internal,
        Self::Key,
        Self::Request,
        Self::Message,
        Self::Late,
        Self::Early,
        Self::FarAhead,
        Self::Signature,
        Self::NotAllowed,
        Self::Duplicate,
        Self::OutcomeUnknown,
        Self::RecordFull,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        use Effect as E;
        const BLANK: Option<&str> = Some("about:blank");
        const KEY: Option<&str> = Some("https://iana.org/assignments/http-problem-types#ohttp-key");
        const REQUEST: Option<&str> = Some("urn:casemate:problem:request");
        match self {
            Self::NotFound => Row("not-found", 404, BLANK, E::Hint, "there is nothing at this path"),
            Self::Method => Row("method", 405, BLANK, E::Hint, "method not allowed on this path"),
            Self::MediaType => Row("media-type", 415, BLANK, E::Hint, "content must be message/ohttp-req"),
            Self::TooLong => Row("too-long", 413, BLANK, E::Hint, "request is too long"),
            Self::Busy => Row("busy", 503, BLANK, E::Hint, "too many requests are being received"),
            Self::Timeout => Row("timeout", 408, BLANK, E::Hint, "request did not arrive in time"),
            Self::Internal => Row("internal", 500, BLANK, E::Hint, "gateway failed"),
            Self::Key => Row("key", 400, KEY, E::Hint, "unknown key configuration; fetch it again"),
            Self::Request => Row("request", 400, REQUEST, E::Hint, "encapsulated request cannot be opened"),
            Self::Message => Row("message", 400, None, E::Never, "request is not a valid message"),
            Self::Late => Row("late", 400, None, E::Unknown, "date is too old by the gateway's clock"),
            Self::Early => Row("early", 400, None, E::Never, "date is ahead of the gateway's clock"),
            Self::FarAhead => Row("far-ahead", 400, None, E::NotYet, "date is more than an hour ahead of the gateway's clock"),
            Self::Signature => Row("signature", 401, None, E::Never, "no valid signatures by an admitted key"),
            Self::NotAllowed => Row("not-allowed", 403, None, E::Never, "this client may not use this method and path"),
            Self::Duplicate => Row("duplicate", 409, None, E::Ran, "a request with this id was admitted before"),
            Self::OutcomeUnknown => Row("outcome-unknown", 409, None, E::Unknown, "an earlier attempt may have run"),
            Self::RecordFull => Row("record-full", 503, None, E::NotYet, "the replay record has no room for this client"),
        }
    }

    /// Returns the code in a sealed answer.
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// Returns the status, outside or inside the encryption.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// Returns the type of the problem document (RFC 9457); `None` for a sealed refusal.
    pub const fn problem_type(self) -> Option<&'static str> {
        self.row().2
    }

    /// Returns the effect on the attempt.
    pub const fn effect(self) -> Effect {
        self.row().3
    }

    /// Returns the message for a person.
    pub const fn message(self) -> &'static str {
        self.row().4
    }

    /// Returns the refusal that the status and code of a sealed, unsigned answer stand for.
    pub fn sealed(status: u16, code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| {
            let sealed = refusal.problem_type().is_none();
            sealed && refusal.status() == status && refusal.code() == code
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the table rows as written in the specification.
    fn specified() -> Vec<String> {
        let text = include_str!("../../../spec/inference.md");
        let section = text.split("### 6.2 Refusals").nth(1).unwrap();
        let table = section.split("| effect | meaning |").next().unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn every_refusal_matches_the_specification() {
        let ours: Vec<_> = Refusal::ALL
            .into_iter()
            .map(|refusal| {
                let (place, kind) = match refusal.problem_type() {
                    Some(kind) => ("outside", format!("`{kind}` ")),
                    None => ("sealed", String::new()),
                };
                let (code, status) = (refusal.code(), refusal.status());
                let effect = refusal.effect().as_str();
                format!("| `{code}` | {place} | {status} | {kind}| `{effect}` |")
            })
            .collect();
        assert_eq!(ours, specified());
    }

    #[test]
    fn an_unsigned_answer_is_a_refusal_only_with_the_status_of_its_code() {
        for refusal in Refusal::ALL {
            let sealed = refusal.problem_type().is_none();
            let found = Refusal::sealed(refusal.status(), refusal.code());
            assert_eq!(found, sealed.then_some(refusal), "{refusal:?}");
        }
        assert_eq!(Refusal::sealed(200, "late"), None);
        assert_eq!(Refusal::sealed(401, "late"), None);
        assert_eq!(Refusal::sealed(400, "other"), None);
    }
}
