"""A parameter server and its workers, in processes of their own, over TCP connections that the network can neither read nor change.

    python parameter_server.py [WORKERS]
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import socket
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

import casemate
from casemate import train

STEPS = 200
FEATURES = 30
#: Connections of which it is not yet known who they are.
MEETINGS = 64
WANTED = np.linspace(-1, 1, FEATURES, dtype=np.float32)


def welcome(listener: socket.socket, folder: Path, workers: int) -> list[train.GradientChannel]:
    """Return a channel to each worker. Strangers that connect, or connect and are silent, do not keep them out."""
    roster = train.open_roster(folder / "roster", signer=folder / "owner.pub")
    found: queue.Queue[train.GradientChannel] = queue.Queue()
    room = threading.Semaphore(MEETINGS)

    def meet(connection: socket.socket) -> None:
        try:
            link = train.SocketLink(connection, timeout=30)
            found.put(train.GradientChannel.accept(link, roster, me="server", key=folder / "server.pem"))
        except (casemate.CasemateError, OSError) as error:
            print(f"refused a connection: {error}", file=sys.stderr)
            connection.close()
        finally:
            room.release()

    def listen() -> None:
        # Ends when the listener is closed.
        with contextlib.suppress(OSError):
            while True:
                room.acquire()
                connection, _address = listener.accept()
                threading.Thread(target=meet, args=(connection,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    channels: dict[str, train.GradientChannel] = {}
    while len(channels) < workers:
        channel = found.get(timeout=60)
        channels.setdefault(channel.peer, channel)
    return list(channels.values())


def serve(listener: socket.socket, folder: Path, workers: int) -> None:
    """Send the weights to every worker, receive its gradient, and apply the mean."""
    channels = welcome(listener, folder, workers)
    weights = np.zeros(FEATURES, np.float32)
    gradient = np.empty_like(weights)
    for _step in range(STEPS):
        for channel in channels:
            channel.send(weights, "weights")
        total = sum(channel.receive(gradient, "gradient").copy() for channel in channels)
        weights -= 0.1 * total / workers
    error = float(np.abs(weights - WANTED).max())
    print(f"largest error of a weight after {STEPS} steps with {workers} workers: {error:.4f}")
    assert error < 0.02, error


def work(address: tuple[str, int], folder: Path, me: str, seed: int) -> None:
    """Compute gradients on data that stays here."""
    samples = np.random.default_rng(seed).normal(size=(400, FEATURES)).astype(np.float32)
    targets = samples @ WANTED
    roster = train.open_roster(folder / "roster", signer=folder / "owner.pub")
    with socket.create_connection(address, timeout=30) as connection:
        link = train.SocketLink(connection, timeout=30)
        channel = train.GradientChannel.connect(link, roster, me=me, key=folder / f"{me}.pem", peer="server")
        weights = np.empty(FEATURES, np.float32)
        for _step in range(STEPS):
            channel.receive(weights, "weights")
            error = samples @ weights - targets
            channel.send(samples.T @ error / len(samples), "gradient")


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        folder = Path(name)
        # In a real job, each member makes its own key, and sends the roster's signer the public half.
        names = ["server", *(f"worker-{number}" for number in range(workers))]
        keys = {name: casemate.PrivateKey.generate("mldsa65-ed25519") for name in names}
        owner = casemate.PrivateKey.generate("mldsa65-ed25519")
        for name, key in keys.items():
            key.to_file(folder / f"{name}.pem")
        (folder / "owner.pub").write_text(owner.public_key.to_pem())
        (folder / "roster").write_bytes(train.sign_roster(keys, sign=owner))
        members = [
            spawn.Process(target=work, args=(listener.getsockname(), folder, name, seed))
            for seed, name in enumerate(names[1:])
        ]
        # A stranger who says nothing, and one who says something else.
        silent, other = (socket.create_connection(listener.getsockname()) for _ in range(2))
        other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        for member in members:
            member.start()
        serve(listener, folder, workers)
        for member in members:
            member.join(30)
            assert member.exitcode == 0, member.name
        silent.close()
        other.close()


if __name__ == "__main__":
    main()
