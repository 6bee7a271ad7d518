//! Which sequence numbers were accepted, as far back as the window reaches.

/// A window of sequence numbers below and at the highest accepted one.
#[derive(Debug)]
pub(crate) struct Window {
    /// Whether each number of the window was accepted, at its remainder.
    seen: Vec<bool>,
    /// The highest accepted number; `None` before the first.
    highest: Option<u64>,
}

impl Window {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            seen: vec![false; len.max(1)],
            highest: None,
        }
    }

    fn place(&self, number: u64) -> usize {
        let len = self.seen.len() as u64;
        usize::try_from(number.checked_rem(len).unwrap_or(0)).unwrap_or(0)
    }

    /// Returns whether the window has left a number behind.
    pub(crate) fn is_past(&self, number: u64) -> bool {
        let behind = self.highest.and_then(|highest| highest.checked_sub(number));
        behind.is_some_and(|behind| behind >= self.seen.len() as u64)
    }

    /// Returns why a number cannot be accepted, if it cannot.
    pub(crate) fn refuse(&self, number: u64) -> Option<&'static str> {
        if self.is_past(number) {
            return Some("it is older than the window");
        }
        if number > self.highest? {
            return None;
        }
        let seen = self.seen.get(self.place(number)).copied();
        seen.unwrap_or(true).then_some("it was already accepted")
    }

    /// Records a number that was authenticated.
    pub(crate) fn accept(&mut self, number: u64) {
        let first_new = match self.highest {
            Some(highest) if number > highest => highest.saturating_add(1),
            None => number,
            Some(_) => {
                self.mark(number, true);
                return;
            }
        };
        // Numbers that were skipped may still come, so their places are free again.
        let len = self.seen.len() as u64;
        let oldest = number.saturating_sub(len.saturating_sub(1));
        for skipped in first_new.max(oldest)..number {
            self.mark(skipped, false);
        }
        self.highest = Some(number);
        self.mark(number, true);
    }

    fn mark(&mut self, number: u64, seen: bool) {
        let place = self.place(number);
        if let Some(slot) = self.seen.get_mut(place) {
            *slot = seen;
        }
    }
}
