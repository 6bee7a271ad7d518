//! Reads the parts of a handshake message (`spec/training.md`, section 3.1).

use crate::error::{Phase, TrainError, check_len};

/// Maximum length of a handshake message, in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 36_864;
/// Maximum length of a composite signature, in bytes.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 32 * 1024;
pub(crate) const VERSION: u8 = 1;

/// A reader within one message.
pub(crate) struct Parts<'a> {
    pub(crate) rest: &'a [u8],
    phase: Phase,
    /// Who sent it, if that is known.
    from: Option<String>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(
        message: &'a [u8],
        phase: Phase,
        from: Option<&str>,
    ) -> Result<Self, TrainError> {
        check_len("handshake message", message.len(), 2, HANDSHAKE_BYTES_MAX)?;
        let mut parts = Self {
            rest: message,
            phase,
            from: from.map(str::to_owned),
        };
        let [version, kind] = *parts.array()?;
        if version != VERSION {
            return Err(parts.refused("it has an unknown version"));
        }
        match Phase::by_id(kind) {
            Some(found) if found == phase => Ok(parts),
            Some(found) => Err(TrainError::Phase {
                expected: phase,
                found,
                from: parts.from,
            }),
            None => Err(parts.refused("it is not a handshake message")),
        }
    }

    /// Names the sender, as the message says.
    pub(crate) fn sent_by(&mut self, name: &str) {
        self.from = Some(name.escape_debug().to_string());
    }

    pub(crate) fn refused(&self, rule: &'static str) -> TrainError {
        TrainError::Handshake {
            phase: self.phase,
            from: self.from.clone(),
            rule,
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], TrainError> {
        let taken = self.rest.split_off(..len);
        taken.ok_or_else(|| self.refused("it is too short"))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], TrainError> {
        let taken = self.rest.split_off(..N).and_then(<[u8]>::first_chunk);
        taken.ok_or_else(|| self.refused("it is too short"))
    }

    pub(crate) fn name(&mut self) -> Result<&'a str, TrainError> {
        let [len] = *self.array()?;
        let bytes = self.take(len.into())?;
        str::from_utf8(bytes).map_err(|_| self.refused("a name is not UTF-8"))
    }

    pub(crate) fn signature(&mut self) -> Result<&'a [u8], TrainError> {
        let len = usize::try_from(u32::from_be_bytes(*self.array()?)).unwrap_or(usize::MAX);
        if len > SIGNATURE_BYTES_MAX {
            return Err(self.refused("its signature is too long"));
        }
        self.take(len)
    }

    pub(crate) fn end(&self) -> Result<(), TrainError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.refused("bytes follow its end"))
    }
}
