//! The rules for sending a request again (`spec/inference.md`, section 5.1), without I/O.

use crate::{
    attempt::{RecordId, RequestId, RequestMark},
    limits::{RESEND_SECONDS, WINDOW_SECONDS},
    refusal::{Effect, Refusal},
};

/// Maximum number of attempts under one request id.
const ATTEMPTS_MAX: u8 = 3;
/// Maximum number of times that a request starts anew.
const RENEWALS_MAX: u8 = 2;

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// No part of it left this machine.
    NotSent,
    /// There was no sealed answer. The attempt may run, now or later.
    Unsealed,
    /// A sealed refusal.
    Refused {
        /// The refusal.
        refusal: Refusal,
        /// Whether [`was_always_late`] holds for the attempt.
        always_late: bool,
    },
}

/// Returns whether an attempt was already too late when it was sent, so that no copy of it can have
/// run.
///
/// `sent` is the signed date, `gateway` the date of the sealed answer, and `elapsed` the time from
/// sending to that answer by a monotonic clock, all in seconds. The gateway's clock may run at up
/// to twice the rate.
pub const fn was_always_late(sent: u64, gateway: u64, elapsed: u64) -> bool {
    let earliest = gateway.saturating_sub(elapsed.saturating_add(1).saturating_mul(2));
    earliest > sent.saturating_add(WINDOW_SECONDS)
}

/// What to do after an attempt that the model did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Fetch the keys again and make another attempt under the same id.
    Resend,
    /// Fetch the keys again and start anew with [`Delivery::renew`].
    Renew,
    /// Give up: the result of the last attempt is the result of the request.
    GiveUp,
    /// Give up: an attempt may have run, or may still run.
    OutcomeUnknown,
}

/// The delivery of one request, over all attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    idempotent: bool,
    mark: RequestMark,
    /// Whether an attempt under this id may have run, or may still run.
    open: bool,
    attempts: u8,
    renewals: u8,
}

/// Returns whether a request may run twice (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].contains(&method)
}

impl Delivery {
    /// Begins the delivery of a request at `now`, in seconds since 1970 UTC.
    pub const fn new(idempotent: bool, id: RequestId, now: u64, record: RecordId) -> Self {
        Self {
            idempotent,
            mark: RequestMark {
                id,
                first: now,
                record,
            },
            open: false,
            attempts: 1,
            renewals: 0,
        }
    }

    /// Returns the mark that the next attempt carries.
    pub const fn mark(&self) -> &RequestMark {
        &self.mark
    }

    /// Starts anew under a new id.
    pub const fn renew(&mut self, id: RequestId, now: u64, record: RecordId) {
        let renewals = self.renewals.saturating_add(1);
        *self = Self {
            renewals,
            ..Self::new(self.idempotent, id, now, record)
        };
    }

    /// Decides what to do after an attempt, at `now`, in seconds since 1970 UTC.
    pub fn after(&mut self, event: Event, now: u64) -> Next {
        match event {
            Event::NotSent => self.again(now),
            Event::Unsealed => {
                self.open = true;
                self.again(now)
            }
            Event::Refused {
                refusal,
                always_late,
            } => self.refused(refusal, always_late),
        }
    }

    fn refused(&mut self, refusal: Refusal, always_late: bool) -> Next {
        let closed = match refusal.effect() {
            Effect::Never => true,
            Effect::Unknown => always_late,
            Effect::Ran => false,
            // A copy of this attempt may be delivered later.
            Effect::NotYet | Effect::Hint => {
                let was_open = std::mem::replace(&mut self.open, true);
                if was_open && !self.idempotent {
                    return Next::OutcomeUnknown;
                }
                return Next::GiveUp;
            }
        };
        // Any other refusal would be repeated.
        let by_clock = matches!(refusal, Refusal::Early | Refusal::Late);
        let may_renew = self.renewals < RENEWALS_MAX;
        let harmless = self.idempotent || (closed && !self.open);
        if may_renew && harmless && (by_clock || !closed || refusal == Refusal::OutcomeUnknown) {
            Next::Renew
        } else if harmless || refusal.effect() == Effect::Ran {
            Next::GiveUp
        } else {
            Next::OutcomeUnknown
        }
    }

    const fn again(&self, now: u64) -> Next {
        if self.idempotent {
            return if self.renewals < RENEWALS_MAX {
                Next::Renew
            } else {
                Next::GiveUp
            };
        }
        let in_time = now.saturating_sub(self.mark.first) <= RESEND_SECONDS;
        if in_time && self.attempts < ATTEMPTS_MAX {
            Next::Resend
        } else if self.open {
            Next::OutcomeUnknown
        } else {
            Next::GiveUp
        }
    }

    /// Counts an attempt under the same id.
    pub const fn resend(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn delivery(method: &str) -> Delivery {
        Delivery::new(
            is_idempotent(method),
            RequestId([1; 16]),
            NOW,
            RecordId([2; 16]),
        )
    }

    fn refused(refusal: Refusal) -> Event {
        Event::Refused {
            refusal,
            always_late: false,
        }
    }

    #[test]
    fn a_request_that_may_have_run_is_resent_only_under_its_id() {
        let mut post = delivery("POST");
        let mark = *post.mark();
        assert_eq!(post.after(Event::Unsealed, NOW + 1), Next::Resend);
        post.resend();
        for refusal in [Refusal::Signature, Refusal::Early, Refusal::OutcomeUnknown] {
            let next = post.clone().after(refused(refusal), NOW + 2);
            assert_eq!(next, Next::OutcomeUnknown, "{refusal:?}");
        }
        let duplicate = post.clone().after(refused(Refusal::Duplicate), NOW + 2);
        assert_eq!(duplicate, Next::GiveUp);
        assert_eq!(post.after(Event::Unsealed, NOW + 2), Next::Resend);
        post.resend();
        assert_eq!(*post.mark(), mark);
        assert_eq!(post.after(Event::Unsealed, NOW + 3), Next::OutcomeUnknown);
        let mut slow = delivery("POST");
        assert_eq!(slow.after(Event::Unsealed, NOW + 101), Next::OutcomeUnknown);
    }

    #[test]
    fn a_request_that_may_run_twice_is_renewed_twice() {
        let mut get = delivery("GET");
        for _ in 0..RENEWALS_MAX {
            assert_eq!(get.after(Event::Unsealed, NOW), Next::Renew);
            get.renew(RequestId([3; 16]), NOW, RecordId([2; 16]));
        }
        assert_eq!(get.after(Event::Unsealed, NOW), Next::GiveUp);
    }

    #[test]
    fn a_request_that_never_ran_starts_anew_after_clock_correction() {
        let mut post = delivery("POST");
        assert_eq!(post.after(refused(Refusal::Early), NOW), Next::Renew);
        let late = |always_late| Event::Refused {
            refusal: Refusal::Late,
            always_late,
        };
        assert_eq!(delivery("POST").after(late(true), NOW), Next::Renew);
        let held_back = delivery("POST").after(late(false), NOW);
        assert_eq!(
            held_back,
            Next::OutcomeUnknown,
            "it ran, and a copy arrived later"
        );
        for refusal in [
            Refusal::Message,
            Refusal::Signature,
            Refusal::NotAllowed,
            Refusal::RecordFull,
        ] {
            let next = delivery("POST").after(refused(refusal), NOW);
            assert_eq!(next, Next::GiveUp, "{refusal:?}");
        }
        post.renew(RequestId([3; 16]), NOW + 5, RecordId([2; 16]));
        assert_eq!(post.after(refused(Refusal::Early), NOW), Next::Renew);
        post.renew(RequestId([4; 16]), NOW + 5, RecordId([2; 16]));
        assert_eq!(post.after(refused(Refusal::Early), NOW), Next::GiveUp);
    }

    #[test]
    fn an_idempotent_request_starts_anew() {
        for event in [
            Event::Unsealed,
            Event::NotSent,
            refused(Refusal::Duplicate),
            refused(Refusal::OutcomeUnknown),
            refused(Refusal::Late),
        ] {
            assert_eq!(delivery("GET").after(event, NOW), Next::Renew, "{event:?}");
        }
        let full = refused(Refusal::RecordFull);
        assert_eq!(delivery("GET").after(full, NOW), Next::GiveUp);
        assert!(!is_idempotent("POST") && !is_idempotent("PATCH") && !is_idempotent("get"));
    }

    #[test]
    fn an_unsent_attempt_has_a_known_outcome() {
        let mut post = delivery("POST");
        assert_eq!(post.after(Event::NotSent, NOW), Next::Resend);
        post.resend();
        assert_eq!(post.after(Event::NotSent, NOW), Next::Resend);
        post.resend();
        assert_eq!(post.after(Event::NotSent, NOW), Next::GiveUp);
    }

    #[test]
    fn an_early_refusal_does_not_close_open_attempts() {
        for refusal in [Refusal::RecordFull, Refusal::FarAhead] {
            let mut post = delivery("POST");
            assert_eq!(post.after(refused(refusal), NOW), Next::GiveUp);
            let mut post = delivery("POST");
            assert_eq!(post.after(Event::Unsealed, NOW), Next::Resend);
            assert_eq!(post.after(refused(refusal), NOW), Next::OutcomeUnknown);
            let mut get = delivery("GET");
            assert_eq!(get.after(Event::Unsealed, NOW), Next::Renew);
            assert_eq!(get.after(refused(refusal), NOW), Next::GiveUp);
        }
    }

    #[test]
    fn lateness_is_measured_from_sending() {
        assert!(was_always_late(NOW, NOW + 600, 1));
        assert!(!was_always_late(NOW, NOW + 70, 70), "delivered again");
        assert!(!was_always_late(NOW, NOW + 62, 0));
        assert!(was_always_late(NOW, NOW + 63, 0));
    }
}
