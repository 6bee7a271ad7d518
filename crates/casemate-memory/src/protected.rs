//! Small secrets in pages that are neither swapped nor dumped.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use zeroize::Zeroize;

use crate::pages;

/// Length of a slot, in bytes. Seeds and keys are shorter; longer secrets stay on the heap.
const SLOT_BYTES: usize = 128;

type Slot = [u8; SLOT_BYTES];

static ASKED: AtomicBool = AtomicBool::new(false);
static SLOTS: Mutex<Slots> = Mutex::new(Slots {
    free: Vec::new(),
    locking: Locking::Off,
});

struct Slots {
    free: Vec<&'static mut Slot>,
    locking: Locking,
}

/// Whether secrets are kept out of swap and core dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// Locking was not requested.
    Off,
    /// All secrets are in locked pages.
    Locked,
    /// The system's limit for locked memory is too low: secrets are kept out of core dumps at most.
    Refused,
}

/// Keeps new secrets in pages that are neither swapped nor dumped, as far as the system allows.
pub fn lock_secrets() {
    ASKED.store(true, Ordering::Relaxed);
    // Try now, so that it is known from the start whether the system allows it.
    slots().refill();
}

/// Returns the result of [`lock_secrets`].
pub fn locking() -> Locking {
    slots().locking
}

fn slots() -> MutexGuard<'static, Slots> {
    // A panicking thread has taken or returned either a whole slot or none.
    SLOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    fn refill(&mut self) {
        match pages::map() {
            Ok((bytes, refused)) => {
                let (slots, _) = bytes.as_chunks_mut::<SLOT_BYTES>();
                self.free.extend(slots);
                if refused.is_some() {
                    self.locking = Locking::Refused;
                } else if self.locking == Locking::Off {
                    self.locking = Locking::Locked;
                }
            }
            Err(_) => self.locking = Locking::Refused,
        }
    }

    fn take(&mut self) -> Option<&'static mut Slot> {
        if self.free.is_empty() {
            self.refill();
        }
        self.free.pop()
    }
}

/// `N` bytes that are wiped on drop.
pub struct Protected<const N: usize>(Place<N>);

enum Place<const N: usize> {
    Heap(Box<[u8; N]>),
    /// `Some` until the slot is returned on drop.
    Slot(Option<&'static mut Slot>),
}

impl<const N: usize> Protected<N> {
    /// Returns `N` zero bytes.
    pub fn zeroed() -> Self {
        if N <= SLOT_BYTES && ASKED.load(Ordering::Relaxed) {
            let slot = slots().take();
            if slot.is_some() {
                return Self(Place::Slot(slot));
            }
        }
        Self(Place::Heap(Box::new([0; N])))
    }
}

impl<const N: usize> Deref for Protected<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        let slot = match &self.0 {
            Place::Heap(bytes) => return bytes,
            Place::Slot(slot) => slot.as_ref().and_then(|slot| slot.first_chunk()),
        };
        slot.unwrap_or_else(|| unreachable!("a slot is used only for secrets that fit"))
    }
}

impl<const N: usize> DerefMut for Protected<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        let slot = match &mut self.0 {
            Place::Heap(bytes) => return bytes,
            Place::Slot(slot) => slot.as_mut().and_then(|slot| slot.first_chunk_mut()),
        };
        slot.unwrap_or_else(|| unreachable!("a slot is used only for secrets that fit"))
    }
}

impl<const N: usize> Drop for Protected<N> {
    fn drop(&mut self) {
        match &mut self.0 {
            Place::Heap(bytes) => bytes.zeroize(),
            Place::Slot(slot) => {
                if let Some(slot) = slot.take() {
                    slot.zeroize();
                    slots().free.push(slot);
                }
            }
        }
    }
}

impl<const N: usize> fmt::Debug for Protected<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protected<{N}>(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the kernel's flags of the mapping that contains an address.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:") {
                if inside {
                    return flags.split_whitespace().map(str::to_owned).collect();
                }
            } else if let Some((range, _)) = line.split_once(' ')
                && let Some((start, end)) = range.split_once('-')
                && let Ok(start) = usize::from_str_radix(start, 16)
                && let Ok(end) = usize::from_str_radix(end, 16)
            {
                inside = (start..end).contains(&address);
            }
        }
        Vec::new()
    }

    #[test]
    fn secrets_are_in_locked_pages_outside_core_dumps_once_that_was_asked_for() {
        let before = Protected::<32>::zeroed();
        assert!(!flags_at(before.as_ptr().addr()).contains(&"dd".to_owned()));
        assert_eq!(locking(), Locking::Off);
        lock_secrets();
        let mut held = Vec::new();
        for round in 0..300_u16 {
            let mut secret = Protected::<32>::zeroed();
            assert_eq!(*secret, [0; 32], "a slot that was used before is wiped");
            secret.fill(1 + round.to_le_bytes()[0] % 250);
            let flags = flags_at(secret.as_ptr().addr());
            assert!(flags.contains(&"dd".to_owned()), "{flags:?}");
            let locked = flags.contains(&"lo".to_owned());
            assert_eq!(locked, locking() == Locking::Locked, "{flags:?}");
            if round % 2 == 0 {
                held.push((round, secret));
            }
        }
        for (round, secret) in &held {
            assert_eq!(**secret, [1 + round.to_le_bytes()[0] % 250; 32]);
        }
        let large = Protected::<{ SLOT_BYTES + 1 }>::zeroed();
        assert!(large.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn debug_shows_the_type_and_none_of_the_bytes() {
        let mut secret = Protected::<4>::zeroed();
        secret.fill(0x5a);
        assert_eq!(format!("{secret:?}"), "Protected<4>(..)");
    }
}
