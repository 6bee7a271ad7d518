//! Content that is verified one segment at a time.

use std::{error::Error, fmt, ops::Deref};

use casemate_oms::CheckedFile;
use casemate_seal::{Opened, ReadAt};

/// A verified segment.
pub type Segment = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// Content that is verified one segment at a time.
pub trait Content: Send + Sync {
    /// Returns the length of the content, in bytes.
    fn content_len(&self) -> u64;

    /// Returns the number of content bytes per segment; the last may have fewer.
    fn segment_bytes(&self) -> u64;

    /// Reads and verifies one segment; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the segment could not be read, or differs from what the publisher signed.
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

/// Why a file could not be opened or read. The reading program gets only an I/O error, so this is
/// reported to the user who mounted.
#[derive(Debug)]
pub struct ReadError(Box<dyn Error + Send + Sync>);

impl ReadError {
    /// Wraps the underlying error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// Shows the error with every cause on one line.
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
