//! Every order of events between a client, gateways that restart, and whoever carries the messages.
//!
//! The carrier keeps every message and delivers it to any gateway, any number of times and at any
//! time; it withholds answers, replays old key documents and forges every answer that is not
//! sealed. The client's rules and the gateway's record are the real ones.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test"
)]

use casemate_crypto::encoding::KeyId;
use casemate_message::{
    RecordId, Refusal, RequestId, RequestMark,
    delivery::{Delivery, Event, Next, was_always_late},
    limits::{OFFSET_SECONDS_MAX, WINDOW_SECONDS},
    replay::ReplayRecord,
    sign::Verified,
};
use stateright::{Checker, Model, Property};

const START: u64 = 1_800_000_000;
/// One step of time: longer than the window of a date, and more than half of what is kept of a
/// first attempt.
const STEP: u64 = 61;
const END: u64 = START + 4 * STEP;
const CLIENT: KeyId = KeyId::from_bytes([1; 32]);

/// What can be changed to see that the model would notice.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one rule left out")]
struct Setting {
    /// Difference of the client's clock from the gateways'.
    skew: i64,
    /// The client takes its request for one that may run twice.
    careless: bool,
    /// The client trusts a gateway that lists another's key as its own.
    address_hostile: bool,
    /// The channel binding leaves the gateway's identity out.
    unbound: bool,
    /// The record marks no request that is early.
    early_unmarked: bool,
    /// An attempt that is late now counts as one that always was.
    late_is_never: bool,
}

/// One life of a gateway: its key and its record.
type Life = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    mark: RequestMark,
    date: u64,
    sent_at: u64,
    /// The life whose key it is sealed to.
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sealed {
    Model,
    Refused(Refusal, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    /// Waits for the answer to the last attempt.
    Waiting,
    Answered,
    /// Told its user that nothing ran.
    NothingRan,
    /// Told its user nothing, or that it does not know.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    delivery: Delivery,
    offset: i64,
    client: Client,
    /// What the carrier has seen, with every sealed answer to each.
    seen: Vec<(Attempt, Vec<Sealed>)>,
    /// Which life each of the two gateways is in.
    lives: [Life; 2],
    /// What each life has admitted or marked, in order, with the time.
    records: Vec<Vec<(RequestMark, u64, u64)>>,
    /// The life in which the model ran, each time.
    ran: Vec<Life>,
    ids: u8,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Wait,
    Restart(usize),
    Deliver {
        attempt: usize,
        gateway: usize,
    },
    /// Hands the client a sealed answer to its last attempt, and a key document of this life if it
    /// asks for one.
    Answer {
        at: usize,
        document: Life,
    },
    /// Hands it nothing, or something forged, and a key document.
    Forge {
        document: Life,
    },
}

impl State {
    fn client_clock(&self, setting: &Setting) -> u64 {
        let clock = self.now.saturating_add_signed(setting.skew);
        clock.saturating_add_signed(self.offset)
    }

    fn send(&mut self, setting: &Setting, life: Life) {
        if let Some((_, answers)) = self.seen.last_mut() {
            answers.clear();
        }
        let attempt = Attempt {
            mark: *self.delivery.mark(),
            date: self.client_clock(setting),
            sent_at: self.now,
            life,
        };
        self.seen.push((attempt, Vec::new()));
    }

    fn record_id(life: Life) -> RecordId {
        RecordId([life; 16])
    }

    /// What a gateway answers, if it can open the attempt.
    fn process(&mut self, setting: &Setting, attempt: usize, gateway: usize) -> Option<Sealed> {
        let life = self.lives[gateway];
        let (attempt, _) = &self.seen[attempt];
        if attempt.life != life {
            return None;
        }
        let refused = |refusal| Some(Sealed::Refused(refusal, self.now));
        if setting.address_hostile && !setting.unbound {
            return refused(Refusal::Signature);
        }
        if self.now > attempt.date + WINDOW_SECONDS {
            return refused(Refusal::Late);
        }
        let verified = |mark, date| Verified {
            key: CLIENT,
            mark,
            date,
        };
        let mut record = ReplayRecord::new(Self::record_id(life), [CLIENT], 100);
        let past = self.records[usize::from(life)].clone();
        for (mark, date, at) in past {
            _ = record.admit(&verified(mark, date), at);
        }
        let before = record.len();
        let (mark, date) = (attempt.mark, attempt.date);
        let admitted = record.admit(&verified(mark, date), self.now);
        let keep = admitted.is_ok() || (record.len() > before && !setting.early_unmarked);
        if keep {
            self.records[usize::from(life)].push((mark, date, self.now));
        }
        match admitted {
            Ok(()) => {
                self.ran.push(life);
                Some(Sealed::Model)
            }
            Err(refusal) => Some(Sealed::Refused(refusal, self.now)),
        }
    }

    /// The client hears of its last attempt.
    fn hear(&mut self, setting: &Setting, event: Event, document: Life) {
        let clock = self.client_clock(setting);
        match self.delivery.after(event, clock) {
            Next::Resend => {
                self.delivery.resend();
                self.send(setting, document);
            }
            Next::Renew => {
                self.ids += 1;
                let id = RequestId([self.ids; 16]);
                let now = self.client_clock(setting);
                self.delivery.renew(id, now, Self::record_id(document));
                self.send(setting, document);
            }
            Next::GiveUp => {
                let never = match event {
                    Event::Refused {
                        refusal,
                        always_late,
                    } => refusal.effect() == casemate_message::Effect::Never || always_late,
                    Event::NotSent | Event::Unsealed => false,
                };
                self.client = if never {
                    Client::NothingRan
                } else {
                    Client::Unknown
                };
            }
            Next::OutcomeUnknown => self.client = Client::Unknown,
        }
    }
}

impl Model for Setting {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            now: START,
            delivery: Delivery::new(
                self.careless,
                RequestId([0; 16]),
                START.saturating_add_signed(self.skew),
                State::record_id(0),
            ),
            offset: 0,
            client: Client::Waiting,
            seen: Vec::new(),
            lives: [0, 1],
            records: vec![Vec::new(); 2],
            ran: Vec::new(),
            ids: 0,
        };
        state.send(self, 0);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Wait);
        if state.records.len() < 3 {
            actions.extend([0, 1].map(Action::Restart));
        }
        for attempt in 0..state.seen.len() {
            actions.extend([0, 1].map(|gateway| Action::Deliver { attempt, gateway }));
        }
        if state.client == Client::Waiting {
            let documents = 0..u8::try_from(state.records.len()).unwrap();
            for document in documents {
                actions.push(Action::Forge { document });
                let answers = state.seen.last().map_or(0, |(_, answers)| answers.len());
                actions.extend((0..answers).map(|at| Action::Answer { at, document }));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Wait => next.now += STEP,
            Action::Restart(gateway) => {
                next.lives[gateway] = u8::try_from(next.records.len()).ok()?;
                next.records.push(Vec::new());
            }
            Action::Deliver { attempt, gateway } => {
                let answer = next.process(self, attempt, gateway)?;
                // The client waits for the answer to its last attempt only.
                let waiting = next.client == Client::Waiting && attempt + 1 == next.seen.len();
                let answers = &mut next.seen[attempt].1;
                if waiting && !answers.contains(&answer) {
                    answers.push(answer);
                }
            }
            Action::Forge { document } => next.hear(self, Event::Unsealed, document),
            Action::Answer { at, document } => {
                let (attempt, answers) = next.seen.last()?;
                match answers[at] {
                    Sealed::Model => next.client = Client::Answered,
                    Sealed::Refused(refusal, date) => {
                        let elapsed = next.now - attempt.sent_at;
                        let always_late =
                            self.late_is_never || was_always_late(attempt.date, date, elapsed);
                        let event = Event::Refused {
                            refusal,
                            always_late,
                        };
                        let clock = next.now.saturating_add_signed(self.skew);
                        let offset = date.checked_signed_diff(clock)?;
                        if offset.unsigned_abs() <= OFFSET_SECONDS_MAX {
                            next.offset = offset;
                        }
                        next.hear(self, event, document);
                    }
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing runs twice", |_, state: &State| {
                state.ran.len() <= 1
            }),
            Property::always(
                "nothing runs where it was not addressed",
                |setting, state: &State| !setting.address_hostile || state.ran.is_empty(),
            ),
            Property::always("what is said not to run does not", |_, state: &State| {
                state.client != Client::NothingRan || state.ran.is_empty()
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.now <= END && state.seen.len() <= 4
    }
}

/// Names of the properties that do not hold.
fn broken(setting: Setting) -> Vec<&'static str> {
    let checker = setting.checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > 100, "{setting:?}");
    let mut names: Vec<_> = checker.discoveries().into_keys().collect();
    names.sort_unstable();
    names
}

#[test]
fn nothing_runs_twice_or_where_it_was_not_addressed() {
    for skew in [0, 90, -90, 200, -200] {
        let setting = Setting {
            skew,
            ..Setting::default()
        };
        assert_eq!(broken(setting), [""; 0], "{skew}");
    }
    let hostile = Setting {
        address_hostile: true,
        ..Setting::default()
    };
    assert_eq!(broken(hostile), [""; 0]);
}

#[test]
fn the_model_notices_each_rule_that_is_left_out() {
    let default = Setting::default();
    let careless = Setting {
        careless: true,
        ..default
    };
    assert!(broken(careless).contains(&"nothing runs twice"));
    let unbound = Setting {
        address_hostile: true,
        unbound: true,
        ..default
    };
    assert!(broken(unbound).contains(&"nothing runs where it was not addressed"));
    let early_unmarked = Setting {
        skew: 90,
        early_unmarked: true,
        ..default
    };
    assert!(broken(early_unmarked).contains(&"nothing runs twice"));
    let late_is_never = Setting {
        late_is_never: true,
        ..default
    };
    assert!(broken(late_is_never).contains(&"nothing runs twice"));
}
