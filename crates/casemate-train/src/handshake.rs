//! The handshake of a channel (`spec/training.md`, section 3.1).

use casemate_crypto::{
    Error, Purpose, SecretBytes,
    hash::sha384,
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    signature::SigningKey,
    suite::{KemSuite, MLKEM768_X25519},
};

use crate::{
    chain::{CHAIN_BYTES, Chain},
    channel::{Channel, Direction, Order},
    error::{Phase, TrainError},
    parts::{Parts, VERSION},
    roster::{Member, Roster},
};

const NONCE_BYTES: usize = 32;
const SUITE: &KemSuite = &MLKEM768_X25519;

/// Fills a buffer with secret randomness.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), Error>;

/// A member's own name and key.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Its name in the roster.
    pub name: &'a str,
    /// The key that the roster gives it.
    pub key: &'a SigningKey,
}

fn named(name: &str) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [&[len], name.as_bytes()].concat()
}

/// Appends the signature over `prefix || body`.
fn signed(key: &SigningKey, prefix: &[u8], body: Vec<u8>) -> Result<Vec<u8>, TrainError> {
    let signature = key.sign(Purpose::TRAIN_HANDSHAKE, &[prefix, &body].concat())?;
    let len = u32::try_from(signature.len()).map_err(|_| Error::Internal)?;
    Ok([body, len.to_be_bytes().to_vec(), signature].concat())
}

fn verify(
    member: &Member,
    parts: &Parts<'_>,
    (prefix, body, signature): (&[u8], &[u8], &[u8]),
) -> Result<(), TrainError> {
    let message = [prefix, body].concat();
    let verified = member
        .key
        .verify(Purpose::TRAIN_HANDSHAKE, &message, signature);
    verified.map_err(|_| parts.refused("its signature is not the member's"))
}

/// Returns what the initiator signs.
fn finish_message(hello: &[u8; 48], answer: &[u8; 48]) -> Vec<u8> {
    [&[Phase::Finish.id()][..], hello, answer].concat()
}

/// What both ends derive.
struct Established {
    id: [u8; 32],
    hello: [u8; 48],
    answer: [u8; 48],
    initiator: Chain,
    responder: Chain,
}

impl Established {
    fn new(
        hello: &[u8; 48],
        answer: &[u8],
        export: impl FnOnce(&[u8], usize) -> Result<SecretBytes, Error>,
    ) -> Result<Self, TrainError> {
        let answer = sha384(answer);
        let transcript = sha384(&Purpose::TRAIN_CHANNEL.with(&[*hello, answer].concat()));
        let exported = export(&Purpose::TRAIN_CHANNEL.with(&transcript), 2 * CHAIN_BYTES)?;
        let (initiator, responder) = exported.expose().split_at(CHAIN_BYTES);
        let mut id = [0; 32];
        id.copy_from_slice(transcript.get(..32).unwrap_or_default());
        Ok(Self {
            id,
            hello: *hello,
            answer,
            initiator: Chain::new(SecretBytes::new(initiator.to_vec()))?,
            responder: Chain::new(SecretBytes::new(responder.to_vec()))?,
        })
    }

    fn finish(&self, key: &SigningKey) -> Result<Vec<u8>, TrainError> {
        let message = finish_message(&self.hello, &self.answer);
        let signature = key.sign(Purpose::TRAIN_HANDSHAKE, &message)?;
        let aead = self.initiator.finish_key()?;
        let sealed = aead.seal(&[0; 12], &self.id, &signature)?;
        Ok([&[VERSION, Phase::Finish.id()], sealed.as_slice()].concat())
    }

    fn check_finish(&self, member: &Member, parts: &Parts<'_>) -> Result<(), TrainError> {
        let aead = self.initiator.finish_key()?;
        let signature = aead
            .open(&[0; 12], &self.id, parts.rest)
            .map_err(|_| parts.refused("it does not prove the key"))?;
        let message = finish_message(&self.hello, &self.answer);
        verify(member, parts, (&message, &[], &signature))
    }

    /// Returns the initiator's direction, the responder's, and the export secret.
    fn ends(self) -> Result<(Direction, Direction, SecretBytes), TrainError> {
        let export = self.initiator.export()?;
        let direction = |chain, number| Direction {
            chain,
            id: self.id,
            number,
        };
        let [one, two] = [(self.initiator, 1), (self.responder, 2)];
        Ok((direction(one.0, one.1), direction(two.0, two.1), export))
    }
}

fn info(hello: &[u8; 48]) -> Vec<u8> {
    Purpose::TRAIN_CHANNEL.with(hello)
}

/// The end that begins, waiting for the answer.
#[derive(Debug)]
pub struct Initiator {
    key: KemPrivateKey,
    hello: [u8; 48],
    roster: [u8; 48],
    name: String,
    responder: String,
}

impl Initiator {
    /// Starts a handshake with `responder` and returns the hello to send.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotAMember`], [`TrainError::OtherKey`], [`TrainError::Itself`] for a name;
    /// [`TrainError::RosterExpired`], [`TrainError::RosterEarly`]; [`TrainError::Crypto`].
    pub fn start(
        roster: &Roster,
        own: Identity<'_>,
        responder: &str,
        now: u64,
        random: Random<'_>,
    ) -> Result<(Self, Vec<u8>), TrainError> {
        roster.check_date(now)?;
        roster.own(own.name, own.key)?;
        let peer = roster.member(responder)?;
        if own.name == responder {
            return Err(TrainError::Itself(responder.to_owned()));
        }
        let seed = casemate_crypto::Secret::<32>::try_init(|seed| random(seed))?;
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let key = KemPrivateKey::from_seed(SUITE, seed.expose())?;
        let body = [
            &[VERSION, Phase::Hello.id()],
            roster.digest().as_slice(),
            &named(own.name),
            &named(&peer.name),
            &nonce,
            key.public_key().as_bytes(),
        ];
        let hello = body.concat();
        let initiator = Self {
            key,
            hello: sha384(&hello),
            roster: *roster.digest(),
            name: own.name.to_owned(),
            responder: peer.name.clone(),
        };
        Ok((initiator, hello))
    }

    /// Returns an initiator after its hello, from a vector.
    #[cfg(test)]
    pub(crate) fn resumed(
        key: KemPrivateKey,
        hello: &[u8],
        roster: &Roster,
        names: [&str; 2],
    ) -> Self {
        let [name, responder] = names.map(str::to_owned);
        Self {
            key,
            hello: sha384(hello),
            roster: *roster.digest(),
            name,
            responder,
        }
    }

    /// Checks the finish of a vector with the initiator's secrets: the responder's are not in it.
    #[cfg(test)]
    pub(crate) fn check_finish(
        self,
        roster: &Roster,
        answer: &[u8],
        finish: &[u8],
    ) -> Result<(), TrainError> {
        let enc = answer.get(2 + NONCE_BYTES..).unwrap_or_default();
        let enc = enc.get(..SUITE.ciphertext_bytes).unwrap_or_default();
        let established = self.establish(enc, answer)?.unwrap();
        let parts = Parts::new(finish, Phase::Finish, Some(&self.name))?;
        established.check_finish(roster.member(&self.name)?, &parts)
    }

    /// Derives what the responder derived; `None` for an `enc` that is malformed.
    fn establish(&self, enc: &[u8], answer: &[u8]) -> Result<Option<Established>, TrainError> {
        let suite = HpkeSuite::of(SUITE)?;
        let Ok(recipient) = suite.setup_recipient(enc, &self.key, &info(&self.hello)) else {
            return Ok(None);
        };
        let export = |context: &[u8], len| recipient.export(context, len);
        Established::new(&self.hello, answer, export).map(Some)
    }

    /// Verifies the answer and returns the channel and the finish to send. `key` and `roster` are
    /// those of the start.
    ///
    /// # Errors
    ///
    /// [`TrainError::Phase`], [`TrainError::Handshake`]; [`TrainError::OtherRoster`];
    /// [`TrainError::OtherKey`]; [`TrainError::Length`] for a window.
    pub fn finish(
        self,
        roster: &Roster,
        key: &SigningKey,
        answer: &[u8],
        order: Order,
    ) -> Result<(Channel, Vec<u8>), TrainError> {
        let peer = roster.member_as_begun(&self.roster, &self.responder)?;
        roster.own(&self.name, key)?;
        let mut parts = Parts::new(answer, Phase::Answer, Some(&self.responder))?;
        parts.take(NONCE_BYTES)?;
        let enc = parts.take(SUITE.ciphertext_bytes)?;
        let body = answer.len().saturating_sub(parts.rest.len());
        let body = answer.get(..body).unwrap_or_default();
        let signature = parts.signature()?;
        parts.end()?;
        let prefix = [&[Phase::Answer.id()][..], &self.hello].concat();
        verify(peer, &parts, (&prefix, body, signature))?;
        let established = self
            .establish(enc, answer)?
            .ok_or_else(|| parts.refused("its key share is malformed"))?;
        let finish = established.finish(key)?;
        let (send, receive, export) = established.ends()?;
        let channel = Channel::new((send, receive, export), order, self.responder)?;
        Ok((channel, finish))
    }
}

/// The end that answered, waiting for the finish.
pub struct Responder {
    established: Established,
    roster: [u8; 48],
    initiator: String,
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder")
            .field("initiator", &self.initiator)
            .finish_non_exhaustive()
    }
}

impl Responder {
    /// Reads a hello and returns the answer to send. Anyone can send a hello: who the initiator
    /// is, its finish proves.
    ///
    /// # Errors
    ///
    /// [`TrainError::Phase`], [`TrainError::Handshake`]; [`TrainError::NotAMember`],
    /// [`TrainError::OtherKey`] for a name; [`TrainError::RosterExpired`],
    /// [`TrainError::RosterEarly`]; [`TrainError::Crypto`].
    pub fn answer(
        roster: &Roster,
        own: Identity<'_>,
        hello: &[u8],
        now: u64,
        random: Random<'_>,
    ) -> Result<(Self, Vec<u8>), TrainError> {
        roster.check_date(now)?;
        roster.own(own.name, own.key)?;
        let mut parts = Parts::new(hello, Phase::Hello, None)?;
        let digest: &[u8; 48] = parts.array()?;
        let initiator = parts.name()?;
        parts.sent_by(initiator);
        let responder = parts.name()?;
        parts.take(NONCE_BYTES)?;
        let share = parts.take(SUITE.public_key_bytes)?;
        parts.end()?;
        if digest != roster.digest() {
            return Err(parts.refused("it uses another roster"));
        }
        if responder != own.name || initiator == own.name {
            return Err(parts.refused("it is not for this member"));
        }
        let peer = roster.member(initiator)?;
        let public = KemPublicKey::new(SUITE, share)
            .map_err(|_| parts.refused("its key share is malformed"))?;
        let hello = sha384(hello);
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let (enc, sender) = HpkeSuite::of(SUITE)?
            .setup_sender(&public, &info(&hello))
            .map_err(|_| parts.refused("its key share is malformed"))?;
        let body = [&[VERSION, Phase::Answer.id()], &nonce[..], &enc].concat();
        let prefix = [&[Phase::Answer.id()][..], &hello].concat();
        let answer = signed(own.key, &prefix, body)?;
        let established =
            Established::new(&hello, &answer, |context, len| sender.export(context, len))?;
        let initiator = peer.name.clone();
        Ok((
            Self {
                established,
                roster: *roster.digest(),
                initiator,
            },
            answer,
        ))
    }

    /// Returns the name of the initiator, whose presence is proven by the finish only.
    pub fn initiator(&self) -> &str {
        &self.initiator
    }

    /// Verifies the finish and returns the channel. `roster` is that of the answer.
    ///
    /// # Errors
    ///
    /// [`TrainError::Phase`], [`TrainError::Handshake`]; [`TrainError::OtherRoster`];
    /// [`TrainError::Length`] for a window.
    pub fn finish(
        self,
        roster: &Roster,
        finish: &[u8],
        order: Order,
    ) -> Result<Channel, TrainError> {
        let peer = roster.member_as_begun(&self.roster, &self.initiator)?;
        let parts = Parts::new(finish, Phase::Finish, Some(&self.initiator))?;
        self.established.check_finish(peer, &parts)?;
        let (receive, send, export) = self.established.ends()?;
        Channel::new((send, receive, export), order, self.initiator)
    }
}
