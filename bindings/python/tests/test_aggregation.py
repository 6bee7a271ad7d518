"""Secure aggregation without a framework: what the server learns, and what clients refuse."""

from pathlib import Path
from types import SimpleNamespace

import casemate
import numpy as np
import pytest
from casemate import train

NOW = 1_800_000_000
NAMES = [f"clinic-{number}" for number in range(5)]
LENGTH = 650


@pytest.fixture(scope="module")
def job():
    make = casemate.PrivateKey.generate
    owner, aggregator = make("mldsa65-ed25519"), make("mlkem768-x25519")
    keys = {name: make("mldsa65-ed25519") for name in NAMES}
    signed = train.sign_roster(keys, sign=owner, now=NOW)
    roster = train.open_roster(signed, signer=owner.public_key, now=NOW)
    return SimpleNamespace(owner=owner, aggregator=aggregator, keys=keys, roster=roster)


def policy_of(job, **changes):
    terms = {"length": LENGTH, "clip": 2.0, "cohort": (3, 5), "weight_max": 2000, **changes}
    signed = train.sign_policy(job.roster, aggregator=job.aggregator.public_key, sign=job.owner, **terms)
    return train.open_policy(signed, job.roster, signer=job.owner.public_key)


class Run:
    """A round in memory."""

    def __init__(self, job, policy, number=1, model=bytes(48)):
        self.round = train.AggregationRound(job.roster, policy, number, model)
        self.job, self.server = job, train.AggregationServer(self.round, job.aggregator)
        self.clients = {name: self.client(name) for name in NAMES}

    def client(self, name, **options):
        return train.AggregationClient(self.round, me=name, key=self.job.keys[name], **options)

    def deliver(self, messages):
        for name, message in messages.items():
            assert self.server.receive(message) == name
        return self.server.close()

    def finish(self, updates, weights, leave=()):
        """Go through the round; clients in `leave` send no update."""
        sent = self.deliver({name: client.advertise(now=NOW) for name, client in self.clients.items()})
        sent = self.deliver({name: self.clients[name].share(message) for name, message in sent.items()})
        masked = {
            name: self.clients[name].mask(message, updates[name], weights[name])
            for name, message in sent.items()
            if name not in leave
        }
        sent = self.deliver(masked)
        sent = self.deliver({name: self.clients[name].agree(message) for name, message in sent.items()})
        return self.deliver({name: self.clients[name].reveal(message, lambda: None) for name, message in sent.items()})


@pytest.fixture
def updates():
    random = np.random.default_rng(3)
    return {name: random.normal(size=LENGTH).astype(np.float32) / 3 for name in NAMES}


def test_the_server_learns_the_weighted_mean(job, updates):
    weights = {name: 100 * (number + 1) for number, name in enumerate(NAMES)}
    run = Run(job, policy_of(job))
    assert run.server.collects == "advertisement"
    found = run.finish(updates, weights, leave={"clinic-2"})
    left = [name for name in NAMES if name != "clinic-2"]
    assert (found.survivors, found.dropped, found.blamed) == (left, ["clinic-2"], [])
    assert found.weight == sum(weights[name] for name in left)
    wanted = sum(weights[name] * updates[name] for name in left) / found.weight
    np.testing.assert_allclose(found.mean, wanted, atol=2e-5)
    assert run.server.collects is None
    with pytest.raises(casemate.VerificationError, match="the round is over"):
        run.server.close()


def test_a_client_that_was_stored_goes_on_and_answers_once(job, updates):
    run = Run(job, policy_of(job))
    sent = run.deliver({name: client.advertise(now=NOW) for name, client in run.clients.items()})
    name = NAMES[0]
    again = run.client(name)
    again.resume(run.clients[name].state())
    again.share(sent[name])
    with pytest.raises(casemate.CasemateError, match="state of the round is damaged"):
        again.resume(again.state()[:-1])
    with pytest.raises(casemate.VerificationError, match="expected the inbox, got the cohort"):
        again.share(sent[name])
    with pytest.raises(casemate.CasemateError, match="not in a round"):
        again.state()
    # A whole round of clients that are stored and read again before each step.
    run = Run(job, policy_of(job))
    sent = run.deliver({name: client.advertise(now=NOW) for name, client in run.clients.items()})

    def restored(name):
        state, client = run.clients[name].state(), run.client(name)
        client.resume(state)
        run.clients[name] = client
        return client

    sent = run.deliver({name: restored(name).share(message) for name, message in sent.items()})
    sent = run.deliver({name: restored(name).mask(message, updates[name], 1) for name, message in sent.items()})
    sent = run.deliver({name: restored(name).agree(message) for name, message in sent.items()})
    answered = []
    reveals = {name: restored(name).reveal(message, lambda: answered.append(1)) for name, message in sent.items()}
    assert len(answered) == len(NAMES)
    with pytest.raises(casemate.CasemateError, match="not in a round"):
        run.clients[NAMES[0]].reveal(sent[NAMES[0]], lambda: None)
    assert run.deliver(reveals).survivors == NAMES


def test_nothing_is_revealed_if_recording_fails(job, updates):
    run = Run(job, policy_of(job))
    weights = dict.fromkeys(NAMES, 1)
    sent = run.deliver({name: client.advertise(now=NOW) for name, client in run.clients.items()})
    sent = run.deliver({name: run.clients[name].share(message) for name, message in sent.items()})
    sent = run.deliver({name: run.clients[name].mask(message, updates[name], weights[name]) for name, message in sent.items()})
    sent = run.deliver({name: run.clients[name].agree(message) for name, message in sent.items()})

    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run.clients[NAMES[0]].reveal(sent[NAMES[0]], full)
    # The client may be asked for its state while it records, which it no longer has.
    client = run.clients[NAMES[1]]
    with pytest.raises(casemate.CasemateError, match="not in a round"):
        client.reveal(sent[NAMES[1]], lambda: client.state())
    with pytest.raises(casemate.CasemateError):
        run.clients[NAMES[0]].reveal(sent[NAMES[0]], lambda: None)


@pytest.mark.parametrize(
    ("floors", "error"),
    [
        ({"cohort_min": 4}, "the smallest cohort is 3, must be at least 4"),
        ({"bits": 21}, "the number of bits is 20, must be at least 21"),
        ({"clip": (0.1, 1.0)}, "the clip in 10\\^-9 is 2000000000, must be 100000000 to 1000000000"),
        ({"threshold": 700}, "the threshold in thousandths is 667, must be at least 700"),
        ({"noise_multiplier": 0.5}, "the noise multiplier in thousandths is 0, must be at least 500"),
    ],
)
def test_a_policy_below_the_floors_is_refused(job, floors, error):
    run = Run(job, policy_of(job))
    with pytest.raises(casemate.CasemateError, match=error):
        run.client(NAMES[0], floors=train.floors(**floors)).advertise(now=NOW)


def test_policies_and_clients_of_others_are_refused(job):
    policy = policy_of(job)
    stranger = casemate.PrivateKey.generate("mldsa65-ed25519")
    signed = train.sign_policy(
        job.roster, aggregator=job.aggregator.public_key, sign=stranger, length=5, clip=1.0, cohort=(3, 5)
    )
    with pytest.raises(casemate.VerificationError, match="not signed by the expected signer"):
        train.open_policy(signed, job.roster, signer=job.owner.public_key)
    other = train.AggregationRound(job.roster, policy, 1, bytes([1]) * 48)
    foreign = train.AggregationClient(other, me=NAMES[1], key=job.keys[NAMES[1]]).advertise(now=NOW)
    with pytest.raises(casemate.VerificationError, match="`clinic-1`: it is of another round, model, policy or roster"):
        Run(job, policy).server.receive(foreign)
    with pytest.raises(casemate.CasemateError, match="another key in the roster"):
        train.AggregationClient(other, me=NAMES[1], key=stranger).advertise(now=NOW)
    with pytest.raises(casemate.CasemateError, match="a cohort must have 3 to 1,024 clients"):
        policy_of(job, cohort=(2, 5))
    with pytest.raises(casemate.CasemateError, match="mlkem768-x25519"):
        train.sign_policy(job.roster, aggregator=stranger, sign=job.owner, length=5, clip=1.0, cohort=(3, 5))


def test_updates_that_cannot_be_summed_are_refused(job, updates):
    for update, weight, error in [
        (np.zeros(LENGTH - 1), 1, "it has 649 coordinates, must have 650"),
        (np.full(LENGTH, np.nan), 1, "coordinate 0 is not a finite number"),
        (np.zeros(LENGTH), 2001, "its weight is 2001, must be 1 to 2000"),
    ]:
        run = Run(job, policy_of(job))
        sent = run.deliver({name: client.advertise(now=NOW) for name, client in run.clients.items()})
        sent = run.deliver({name: run.clients[name].share(message) for name, message in sent.items()})
        with pytest.raises(casemate.CasemateError, match=error):
            run.clients[NAMES[0]].mask(sent[NAMES[0]], update, weight)


def test_a_models_digest_covers_names_types_shapes_and_elements():
    ones = np.ones((2, 3), np.float32)
    digest = train.model_digest({"a": ones, "b": ones})
    assert digest == train.model_digest({"b": ones, "a": ones.copy()})
    for other in [
        {"a": ones, "c": ones},
        {"a": ones},
        {"a": ones, "b": ones.reshape(3, 2)},
        {"a": ones, "b": ones.view(np.int32)},
        {"a": ones, "b": ones * 2},
    ]:
        assert train.model_digest(other) != digest
    assert train.model_digest({"a": ones, "b": ones}, b"lr=0") != digest


def test_noise_is_accounted_for_and_never_below_the_gaussians(job):
    accounting = pytest.importorskip("dp_accounting")
    multiplier, rounds = 1.3, 10
    policy = policy_of(job, weight_max=1, bits=16, noise=(1.0, multiplier))
    accountant = train.Accountant(policy)
    # The smallest cohort of three: all of them are honest, as a tenth of three is none.
    gaussian = accounting.rdp.RdpAccountant(orders=list(range(2, 257)))
    for _ in range(rounds):
        accountant.add_round(3)
        gaussian.compose(accounting.GaussianDpEvent(multiplier))
    found, bound = accountant.epsilon(1e-5), gaussian.get_epsilon(1e-5)
    assert bound * (1 - 1e-6) <= found <= bound * 1.01
    Run(job, policy).client(NAMES[0], floors=train.floors(noise_multiplier=multiplier)).advertise(now=NOW)
    with pytest.raises(casemate.CasemateError, match="is 1300, must be at least 1301"):
        Run(job, policy).client(NAMES[0], floors=train.floors(noise_multiplier=1.301)).advertise(now=NOW)
    for delta in (0, 1, -1e-5, 5):
        with pytest.raises(ValueError, match="delta must be between 0 and 1"):
            accountant.epsilon(delta)
    noise = policy.parameters()["noise"]
    assert noise[0] == 1_000_000_000
    # Another accountant, from the variance alone.
    sensitivity = (2**16 - 1) / 4 + LENGTH**0.5
    assert (noise[1] * 3) ** 0.5 / sensitivity == pytest.approx(multiplier, rel=1e-6)


def test_a_model_trained_on_sums_is_as_good_as_with_plain_averaging(job, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples/flower_digits")
    from digits import task

    assert len(NAMES) == task.PARTS
    policy = policy_of(job, clip=1.0)

    def updates(weights):
        """Return what each client's training, from two classes of digits, adds to the weights."""
        trained = {name: task.train(weights.reshape(65, 10), part)[0] for part, name in enumerate(NAMES)}
        return {name: (after.reshape(-1) - weights) for name, after in trained.items()}

    sizes = {name: len(task.data(part)[1]) for part, name in enumerate(NAMES)}
    plain = secure = np.zeros(LENGTH, np.float32)
    for number in range(1, 26):
        found = updates(plain)
        plain = plain + sum(sizes[name] * found[name] for name in NAMES) / np.float32(sum(sizes.values()))
        run = Run(job, policy, number, train.model_digest({"weights": secure}))
        secure = secure + run.finish(updates(secure), sizes).mean
    plain, secure = (task.accuracy(weights.reshape(65, 10)) for weights in (plain, secure))
    assert plain > 0.85
    assert abs(plain - secure) <= 0.005


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 2e6])
def test_numbers_of_a_policy_that_are_out_of_range_are_named(job, bad):
    for changes, name in [({"clip": bad}, "clip="), ({"noise": (bad, 1.0)}, "norm of noise="), ({"noise": (1.0, bad)}, "multiplier of noise=")]:
        with pytest.raises(casemate.CasemateError, match=f"{name} is .*, must be a number from 0 to 1000000"):
            policy_of(job, **changes)
    with pytest.raises(casemate.CasemateError, match="noise_multiplier= is"):
        train.floors(noise_multiplier=bad)
    with pytest.raises(casemate.CasemateError, match="clip= is"):
        train.floors(clip=(0.1, bad))
