//! One reduction (`spec/masked-all-reduce.md`, section 3).

use super::{
    checksum::{Checksum, Tags},
    error::{AllReduceError, Exchange},
    exchange::{Announcement, open, read_result, read_tags, seal},
    keys::Ring,
    lanes::{Lanes, NOT_FINITE, Scale, ZERO, exponent_of},
    masks::{BLOCK, Masks, Prepared},
};

/// Maximum number of values of a vector.
pub const VALUES_MAX: usize = 1 << 30;

/// What the ranks are going to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreed {
    /// Sum the words.
    Sum,
    /// Nothing: the result has this value in every element.
    Constant(f32),
}

/// A reduction of one vector. Each step is taken once, in the order of the methods.
pub struct Reduction {
    number: u64,
    lanes: Lanes,
    length: usize,
    own: Announcement,
    checksum: casemate_crypto::Secret<32>,
    scale: Option<Scale>,
    masks: Option<Masks>,
    /// What the check of the sum found.
    outcome: Option<Result<(), AllReduceError>>,
}

impl std::fmt::Debug for Reduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reduction")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Reduction {
    /// Begins the next reduction of a session, and returns the announcement to send.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Length`], [`AllReduceError::Ranks`], [`AllReduceError::UsedUp`].
    pub fn begin(
        ring: &mut Ring,
        lanes: Lanes,
        values: &[f32],
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
        let own = Announcement::new(exponent_of(values), lanes, values.len());
        let message = seal(ring, (number, Exchange::Announcement), &own.to_bytes())?;
        let reduction = Self {
            number,
            lanes,
            length: values.len(),
            own,
            checksum: ring.tag_key(number)?,
            scale: None,
            masks: None,
            outcome: None,
        };
        Ok((reduction, message))
    }

    /// Returns the number of values.
    pub const fn length(&self) -> usize {
        self.length
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
    pub fn agree(&mut self, ring: &Ring, messages: &[&[u8]]) -> Result<Agreed, AllReduceError> {
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
        }
        // Not-finite is the largest, and zero the least.
        let largest = all.iter().map(|found| found.exponent).max();
        match largest.unwrap_or(NOT_FINITE) {
            NOT_FINITE => Ok(Agreed::Constant(f32::NAN)),
            ZERO => Ok(Agreed::Constant(0.0)),
            exponent => {
                let ranks = u32::try_from(ring.ranks()).unwrap_or(u32::MAX);
                self.scale = Some(Scale::new(self.lanes, ranks, exponent));
                Ok(Agreed::Sum)
            }
        }
    }

    /// Masks the values that were announced into the words to hand to the library, and returns the
    /// tags to send to all ranks.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`], [`AllReduceError::Buffer`].
    pub fn mask(
        &mut self,
        ring: &Ring,
        values: &[f32],
        prepared: Option<Prepared>,
        out: &mut [u64],
    ) -> Result<Vec<u8>, AllReduceError> {
        let scale = self
            .scale
            .ok_or(AllReduceError::Turn("the ranks have not agreed"))?;
        if self.masks.is_some() {
            return Err(AllReduceError::Turn("a vector was masked twice"));
        }
        check("vector", values.len(), self.length)?;
        check("output", out.len(), self.words())?;
        if exponent_of(values) != self.own.exponent {
            return Err(AllReduceError::Turn(
                "the vector changed after it was announced",
            ));
        }
        let keys = ring.mask_keys(self.number)?;
        let mut masks = Masks::new(&keys, (self.number, out.len()), prepared)?;
        let mut checksum = Checksum::new(&self.checksum)?;
        let per_block = BLOCK.saturating_mul(self.lanes.count());
        let mut at = 0;
        for (values, block) in values.chunks(per_block).zip(out.chunks_mut(BLOCK)) {
            scale.pack(values, block);
            checksum.update(block);
            masks.mask(block, at)?;
            at = at.saturating_add(block.len());
        }
        let tags = checksum.finish().add(masks.tags()?);
        self.masks = Some(masks);
        seal(ring, (self.number, Exchange::Tags), &tags.to_bytes())
    }

    /// Checks the sum of the library against the tags of all ranks, writes the mean of the ranks'
    /// values if it is right, and returns the result to send: others must learn of a wrong one.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`], [`AllReduceError::Buffer`].
    pub fn unmask(
        &mut self,
        ring: &Ring,
        messages: &[&[u8]],
        sum: &mut [u64],
        out: &mut [f32],
    ) -> Result<Vec<u8>, AllReduceError> {
        let turn = || AllReduceError::Turn("no vector was masked");
        let (masks, scale) = self.masks.take().zip(self.scale).ok_or_else(turn)?;
        check("sum", sum.len(), self.words())?;
        check("output", out.len(), self.length)?;
        let found = self.check(ring, messages, masks, sum);
        if found.is_ok() {
            scale.unpack(sum, out);
        }
        let right = u8::from(found.is_ok());
        self.outcome = Some(found);
        seal(ring, (self.number, Exchange::Result), &[right])
    }

    /// Removes the output mask and compares the tags.
    fn check(
        &self,
        ring: &Ring,
        messages: &[&[u8]],
        mut masks: Masks,
        sum: &mut [u64],
    ) -> Result<(), AllReduceError> {
        let tags = open(ring, (self.number, Exchange::Tags), messages, read_tags)?;
        let wanted = tags.into_iter().fold(Tags::default(), Tags::add);
        let mut checksum = Checksum::new(&self.checksum)?;
        let mut at = 0usize;
        for block in sum.chunks_mut(BLOCK) {
            masks.unmask(block, at)?;
            checksum.update(block);
            at = at.saturating_add(block.len());
        }
        if checksum.finish() == wanted {
            return Ok(());
        }
        Err(AllReduceError::Sum)
    }

    /// Reads the results of all ranks. The mean may be used if this returns no error.
    ///
    /// # Errors
    ///
    /// What [`Self::unmask`] found, [`AllReduceError::Elsewhere`]; [`AllReduceError::Turn`],
    /// [`AllReduceError::Message`], [`AllReduceError::Messages`].
    pub fn confirm(self, ring: &Ring, messages: &[&[u8]]) -> Result<(), AllReduceError> {
        let own = self.outcome.as_ref();
        own.ok_or(AllReduceError::Turn("no sum was checked"))?
            .clone()?;
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

fn check(what: &'static str, actual: usize, expected: usize) -> Result<(), AllReduceError> {
    if actual == expected {
        return Ok(());
    }
    Err(AllReduceError::Buffer {
        what,
        actual,
        expected,
    })
}
