//! What can be shown: content that is checked a segment at a time.

use std::{error::Error, fmt, ops::Deref};

use casemate_oms::CheckedFile;
use casemate_seal::{Opened, ReadAt};

/// A segment that was checked.
pub type Segment = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// Content that is checked a segment at a time.
pub trait Content: Send + Sync {
    /// Length of the content, in bytes.
    fn content_len(&self) -> u64;

    /// Content bytes in a segment; the last may have fewer.
    fn segment_bytes(&self) -> u64;

    /// Reads and checks one segment; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// The segment could not be read, or is not what the publisher signed.
    fn read_segment(&self, index: u64) -> Result<Segment, ReadError>;
}

impl<R: ReadAt> Content for Opened<R> {
    fn content_len(&self) -> u64 {
        self.content_len()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes()
    }

    fn read_segment(&self, index: u64) -> Result<Segment, ReadError> {
        let segment = self.read_segment(index).map_err(ReadError::new)?;
        Ok(Box::new(segment))
    }
}

impl Content for CheckedFile {
    fn content_len(&self) -> u64 {
        self.content_len()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes()
    }

    fn read_segment(&self, index: u64) -> Result<Segment, ReadError> {
        let segment = self.read_segment(index).map_err(ReadError::new)?;
        Ok(Box::new(segment))
    }
}

/// Why a file could not be opened or read. Its reader gets an I/O error, which says nothing, so this is told to whoever mounts.
#[derive(Debug)]
pub struct ReadError(Box<dyn Error + Send + Sync>);

impl ReadError {
    /// What went wrong below.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// With every cause, in one line.
impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl Error for ReadError {}
