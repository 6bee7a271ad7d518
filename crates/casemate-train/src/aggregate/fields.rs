//! Reads the fields of a round's messages (`spec/secure-aggregation.md`, section 4).

use super::{
    error::{AggregateError, Step},
    round::{Position, Round},
};

/// Maximum length of a client's messages other than the masked update.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A reader within one message.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
    step: Step,
    /// Which client sent it.
    from: Option<String>,
}

impl<'a> Fields<'a> {
    /// Starts to read a message of a client, which begins with its number, its sender and the
    /// round. Returns the sender too.
    pub(super) fn of_client(
        message: &'a [u8],
        step: Step,
        round: &Round,
    ) -> Result<(Self, Position), AggregateError> {
        let mut fields = Self::new(message, step)?;
        let sender = fields.position()?;
        if round.member(sender).is_none() {
            return Err(fields.refused("its sender is not in the roster"));
        }
        fields.from = Some(round.name(sender));
        let ctx: &[u8; 48] = fields.array()?;
        if ctx != round.context() {
            return Err(fields.refused("it is of another round, model, policy or roster"));
        }
        Ok((fields, sender))
    }

    /// Starts to read a message.
    pub(super) fn new(message: &'a [u8], step: Step) -> Result<Self, AggregateError> {
        let mut fields = Self {
            rest: message,
            step,
            from: None,
        };
        let [number] = *fields.array()?;
        if number == step.id() {
            return Ok(fields);
        }
        Err(fields.refused("another message came instead"))
    }

    /// Reads what a part of the message decrypts to.
    pub(super) fn within(self, plaintext: &[u8]) -> Fields<'_> {
        Fields {
            rest: plaintext,
            step: self.step,
            from: self.from,
        }
    }

    /// Refuses a part of the message that is about this member.
    pub(super) fn refused_of(
        &self,
        round: &Round,
        member: Position,
        rule: &'static str,
    ) -> AggregateError {
        AggregateError::Message {
            step: self.step,
            from: Some(round.name(member)),
            rule,
        }
    }

    pub(super) fn refused(&self, rule: &'static str) -> AggregateError {
        AggregateError::Message {
            step: self.step,
            from: self.from.clone(),
            rule,
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], AggregateError> {
        let taken = self.rest.split_off(..len);
        taken.ok_or_else(|| self.refused("it is too short"))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], AggregateError> {
        let taken = self.rest.split_off(..N).and_then(<[u8]>::first_chunk);
        taken.ok_or_else(|| self.refused("it is too short"))
    }

    pub(super) fn position(&mut self) -> Result<Position, AggregateError> {
        Ok(Position::from_be_bytes(*self.array()?))
    }

    /// Reads a length of up to `most` and that many bytes.
    pub(super) fn sized(&mut self, most: usize) -> Result<&'a [u8], AggregateError> {
        let len = usize::try_from(u32::from_be_bytes(*self.array()?)).unwrap_or(usize::MAX);
        if len > most {
            return Err(self.refused("a part of it is too long"));
        }
        self.take(len)
    }

    /// Reads a list of members, in ascending order without repetition.
    pub(super) fn members(&mut self, round: &Round) -> Result<Vec<Position>, AggregateError> {
        let count = self.position()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let member = self.position()?;
            self.check_next(round, members.last().copied(), member)?;
            members.push(member);
        }
        Ok(members)
    }

    /// Checks that a member follows the one before it in a list.
    pub(super) fn check_next(
        &self,
        round: &Round,
        before: Option<Position>,
        member: Position,
    ) -> Result<(), AggregateError> {
        if round.member(member).is_none() {
            return Err(self.refused("it names someone who is not in the roster"));
        }
        if before.is_some_and(|before| before >= member) {
            return Err(self.refused("its members are not in ascending order"));
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), AggregateError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.refused("bytes follow its end"))
    }
}

/// Checks the length of a message before it is read.
pub(super) fn check_len(message: &[u8], step: Step, most: usize) -> Result<(), AggregateError> {
    if message.len() <= most {
        return Ok(());
    }
    Err(AggregateError::Message {
        step,
        from: None,
        rule: "it is too long",
    })
}

/// Writes a list of members.
pub(super) fn write_members(out: &mut Vec<u8>, members: &[Position]) {
    write_count(out, members.len());
    members
        .iter()
        .for_each(|member| out.extend_from_slice(&member.to_be_bytes()));
}

/// Writes a number of members, of which there are never more than fit.
pub(super) fn write_count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

/// Writes bytes with their length in front of them.
pub(super) fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}
