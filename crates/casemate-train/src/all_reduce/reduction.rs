//! One reduction (`spec/masked-all-reduce.md`, section 3).

use super::{
    checksum::{Checksum, Tags},
    error::{AllReduceError, Exchange},
    exchange::{Announcement, open, read_result, read_tags, seal},
    keys::Ring,
    lanes::{Lanes, NOT_FINITE, Scale, ZERO, exponent_of},
    masks::{BLOCK, Mask, OutputMask},
};

/// Maximum number of values of a vector.
pub const VALUES_MAX: usize = 1 << 30;

/// A reduction that this rank has announced.
pub struct Reduction {
    number: u64,
    lanes: Lanes,
    length: usize,
    own: Announcement,
}

/// What the ranks are going to do.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is returned"
)]
pub enum Agreed {
    /// Sum the words.
    Sum(Masker, Unmasker),
    /// Nothing: the result has this value in every element.
    Constant(f32),
}

impl std::fmt::Debug for Reduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reduction")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Reduction {
    /// Begins the next reduction of a session, and returns the announcement to send. `label` says
    /// what the vector is, the same on every rank.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Length`], [`AllReduceError::Ranks`], [`AllReduceError::UsedUp`].
    pub fn begin(
        ring: &Ring,
        lanes: Lanes,
        values: &[f32],
        label: &[u8],
    ) -> Result<(Self, Vec<u8>), AllReduceError> {
        if !(1..=VALUES_MAX).contains(&values.len()) {
            return Err(AllReduceError::Length(values.len()));
        }
        if ring.ranks() > lanes.ranks_max() {
            return Err(AllReduceError::Ranks(
                "with three lanes there must be 2 to 1,024",
            ));
        }
        // Before anything of it is sent, so that no number is used twice.
        let number = ring.count()?;
        let own = Announcement::new(exponent_of(values), lanes, values.len(), label);
        let message = seal(ring, (number, Exchange::Announcement), &own.to_bytes())?;
        let length = values.len();
        let reduction = Self {
            number,
            lanes,
            length,
            own,
        };
        Ok((reduction, message))
    }

    /// Returns how many words are summed.
    pub const fn words(&self) -> usize {
        self.lanes.words(self.length)
    }

    /// Reads the announcements of all ranks, in their order.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Message`], [`AllReduceError::Messages`], [`AllReduceError::Vector`].
    pub fn agree(self, ring: &Ring, messages: &[&[u8]]) -> Result<Agreed, AllReduceError> {
        let read = |_: usize, content: &[u8]| Announcement::from_bytes(content);
        let all = open(ring, (self.number, Exchange::Announcement), messages, read)?;
        for (rank, found) in all.iter().enumerate() {
            if (found.lanes, found.length) != (self.own.lanes, self.own.length) {
                return Err(AllReduceError::Vector {
                    rank,
                    name: ring.name(rank),
                    found: found.vector(),
                    expected: self.own.vector(),
                });
            }
            if found.label != self.own.label {
                return Err(AllReduceError::Label {
                    rank,
                    name: ring.name(rank),
                });
            }
        }
        // Not-finite is the largest, and zero the least.
        let largest = all.iter().map(|found| found.exponent).max();
        match largest.unwrap_or(NOT_FINITE) {
            NOT_FINITE => Ok(Agreed::Constant(f32::NAN)),
            ZERO => Ok(Agreed::Constant(0.0)),
            exponent => self.sum(ring, exponent),
        }
    }

    fn sum(self, ring: &Ring, exponent: i16) -> Result<Agreed, AllReduceError> {
        let ranks = u32::try_from(ring.ranks()).unwrap_or(u32::MAX);
        let keys = ring.mask_keys(self.number)?;
        let tag_key = ring.tag_key(self.number)?;
        let progress = || {
            let checksum = Checksum::new(&tag_key, self.lanes)?;
            Ok::<_, AllReduceError>(Progress {
                number: self.number,
                lanes: self.lanes,
                left: self.length,
                scale: Scale::new(self.lanes, ranks, exponent),
                checksum,
            })
        };
        let masker = Masker {
            progress: progress()?,
            mask: Mask::new(&keys)?,
        };
        let unmasker = Unmasker {
            progress: progress()?,
            mask: OutputMask::new(&keys)?,
        };
        Ok(Agreed::Sum(masker, unmasker))
    }
}

/// How far a vector was gone through.
struct Progress {
    number: u64,
    lanes: Lanes,
    /// Values that are left.
    left: usize,
    scale: Scale,
    checksum: Checksum,
}

impl Progress {
    /// Takes the next piece.
    fn take(&mut self, values: usize, words: usize) -> Result<(), AllReduceError> {
        let multiple = self.lanes.piece();
        let whole = values > 0 && values < self.left && values.is_multiple_of(multiple);
        if !whole && (values != self.left || values == 0) {
            return Err(AllReduceError::Piece {
                actual: values,
                multiple,
                left: self.left,
            });
        }
        let expected = self.lanes.words(values);
        if words != expected {
            return Err(AllReduceError::Words {
                actual: words,
                expected,
            });
        }
        self.left = self.left.saturating_sub(values);
        Ok(())
    }

    /// Returns the tags of the whole vector; `None` for words that no ranks have sent.
    fn end(self) -> Result<Option<Tags>, AllReduceError> {
        if self.left > 0 {
            return Err(AllReduceError::Turn("there are values left"));
        }
        Ok(self.checksum.finish())
    }

    const fn values_per_block(&self) -> usize {
        BLOCK.saturating_mul(self.lanes.count())
    }
}

/// Masks a vector, one piece after the other.
pub struct Masker {
    progress: Progress,
    mask: Mask,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker")
            .field("left", &self.progress.left)
            .finish_non_exhaustive()
    }
}

impl Masker {
    /// Masks the next piece of the values that were announced, into the words to hand to the
    /// library. Values that have grown meanwhile are cut to what was announced.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Piece`], [`AllReduceError::Words`].
    pub fn next(&mut self, values: &[f32], out: &mut [u64]) -> Result<(), AllReduceError> {
        let progress = &mut self.progress;
        progress.take(values.len(), out.len())?;
        let blocks = values.chunks(progress.values_per_block());
        for (values, block) in blocks.zip(out.chunks_mut(BLOCK)) {
            progress.scale.pack(values, block);
            progress.checksum.update(block);
            self.mask.apply(block)?;
        }
        Ok(())
    }

    /// Returns the tags to send to all ranks.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`] if values are left.
    pub fn finish(self, ring: &Ring) -> Result<Vec<u8>, AllReduceError> {
        let number = self.progress.number;
        let tags = self.progress.end()?.unwrap_or_default();
        let tags = tags.add(self.mask.tags()?);
        seal(ring, (number, Exchange::Tags), &tags.to_bytes())
    }
}

/// Turns the library's sum into the mean of the ranks' values, one piece after the other.
pub struct Unmasker {
    progress: Progress,
    mask: OutputMask,
}

impl std::fmt::Debug for Unmasker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unmasker")
            .field("left", &self.progress.left)
            .finish_non_exhaustive()
    }
}

impl Unmasker {
    /// Writes the next piece of the mean. Do not use it before all ranks have confirmed the sum.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Piece`], [`AllReduceError::Words`].
    pub fn next(&mut self, sum: &mut [u64], out: &mut [f32]) -> Result<(), AllReduceError> {
        let progress = &mut self.progress;
        progress.take(out.len(), sum.len())?;
        let blocks = out.chunks_mut(progress.values_per_block());
        for (values, block) in blocks.zip(sum.chunks_mut(BLOCK)) {
            self.mask.remove(block)?;
            progress.checksum.update(block);
            progress.scale.unpack(block, values);
        }
        Ok(())
    }

    /// Compares the sum with the tags of all ranks. Returns the result to send, whatever it is:
    /// others must learn that a sum is wrong.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`] if words are left.
    pub fn finish(
        self,
        ring: &Ring,
        messages: &[&[u8]],
    ) -> Result<(Confirmation, Vec<u8>), AllReduceError> {
        let number = self.progress.number;
        let tags = self.progress.end()?;
        let all = open(ring, (number, Exchange::Tags), messages, read_tags);
        let found = all.and_then(|all| {
            let wanted = all.into_iter().fold(Tags::default(), Tags::add);
            (tags == Some(wanted))
                .then_some(())
                .ok_or(AllReduceError::Sum)
        });
        let result = [u8::from(found.is_ok())];
        let message = seal(ring, (number, Exchange::Result), &result)?;
        Ok((Confirmation { number, found }, message))
    }
}

/// What a rank found, until it knows what the others have found.
#[derive(Debug)]
pub struct Confirmation {
    number: u64,
    found: Result<(), AllReduceError>,
}

impl Confirmation {
    /// Reads the results of all ranks. The mean may be used if this returns no error.
    ///
    /// # Errors
    ///
    /// What this rank found, [`AllReduceError::Elsewhere`]; [`AllReduceError::Message`],
    /// [`AllReduceError::Messages`].
    pub fn confirm(self, ring: &Ring, messages: &[&[u8]]) -> Result<(), AllReduceError> {
        self.found?;
        let results = open(ring, (self.number, Exchange::Result), messages, read_result)?;
        match results.iter().position(|right| !right) {
            None => Ok(()),
            Some(rank) => Err(AllReduceError::Elsewhere {
                rank,
                name: ring.name(rank),
            }),
        }
    }
}
