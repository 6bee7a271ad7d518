//! Why a key store stayed locked.

use std::fmt;

use casemate_crypto::Secret;

use crate::{
    group::Group,
    slot::{Answer, KeeperError, Slot, Takes},
};

/// What came of every slot and group that was tried, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    lines: Vec<String>,
}

impl Locked {
    /// Returns one line for each slot and each group.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no slot opens the key store: {}", self.lines.join("; "))
    }
}

/// Collects what came of slots.
#[derive(Default)]
pub(crate) struct Answers {
    slots: Vec<(String, String)>,
    groups: Vec<String>,
}

impl Answers {
    /// Notes an answer, and returns the payload.
    pub(crate) fn note(&mut self, slot: &Slot, answer: Answer) -> Option<Secret<32>> {
        let (payload, what) = match answer {
            Answer::Payload(payload) => (Some(payload), "opened".to_owned()),
            Answer::NotAsked => (None, "no secret for it was given".to_owned()),
            Answer::Wrong if slot.takes() == Takes::Passphrase => {
                (None, "wrong passphrase".to_owned())
            }
            Answer::Wrong if slot.needs_keeper() => (
                None,
                "what its service returned does not open it".to_owned(),
            ),
            Answer::Wrong => (None, "the given secret does not open it".to_owned()),
            Answer::Failed(error) => (None, chain(&error)),
        };
        let name = format!("`{}` ({})", slot.name, slot.kind());
        self.slots.push((name, what));
        payload
    }

    /// Notes that too few slots of a group opened.
    pub(crate) fn short(&mut self, group: &Group, opened: usize, members: usize) {
        let (name, threshold) = (&group.name, group.threshold);
        self.groups.push(format!(
            "group `{name}` needs {threshold} of its {members} slots, and {opened} opened"
        ));
    }
}

impl From<Answers> for Locked {
    fn from(answers: Answers) -> Self {
        let slots = answers
            .slots
            .into_iter()
            .map(|(name, what)| format!("{name}: {what}"));
        Self {
            lines: slots.chain(answers.groups).collect(),
        }
    }
}

/// Returns an error and its causes.
fn chain(error: &KeeperError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
