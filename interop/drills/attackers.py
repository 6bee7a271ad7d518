"""Attackers of a gateway. Each runs until it is killed, and uses standard libraries and the client of `wire.py`."""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import os
import socket
import ssl
import time

import support
import wire

MIB = 1 << 20
# Counts actions, so that an attack that does nothing is noticed.
DONE = multiprocessing.Value("Q", 0)
HOLDERS = 1024


def context(root: str) -> ssl.SSLContext:
    """Return a context that verifies the gateway's certificate, with the groups of Python's OpenSSL."""
    return ssl.create_default_context(cafile=root)


def connect(port: int, root: str, source: str = "127.0.0.1") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    return context(root).wrap_socket(plain, server_hostname="localhost")


def sources() -> itertools.cycle:
    """Return loopback addresses, so that the connections come from many peers."""
    return itertools.cycle(f"127.0.0.{number}" for number in range(2, 18))


def idle(port: int, root: str, *_: object) -> None:
    """Open connections that send nothing."""
    held = []
    for source in itertools.islice(sources(), HOLDERS):
        try:
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0)))
            DONE.value += 1
        except OSError:
            continue
    time.sleep(3600)


def unread(port: int, root: str, *_: object) -> None:
    """Send requests repeatedly without reading an answer."""
    ask = b"GET /.well-known/casemate-keys HTTP/1.1\r\nhost: localhost\r\n\r\n" * 500
    held = []
    for source in itertools.islice(sources(), HOLDERS):
        try:
            peer = connect(port, root, source)
            peer.setblocking(False)
            peer.send(ask)
            held.append(peer)
            DONE.value += 1
        except OSError:
            continue
    time.sleep(3600)


def body(port: int, root: str, *_: object) -> None:
    """Send requests of 32 MiB without their last byte."""
    head = f"POST {support.OHTTP_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: message/ohttp-req\r\ncontent-length: {32 * MIB}\r\n\r\n"
    while True:
        held = []
        for source in itertools.islice(sources(), 16):
            try:
                peer = connect(port, root, source)
                peer.sendall(head.encode())
                for _ in range(31):
                    peer.sendall(bytes(MIB))
                held.append(peer)
                DONE.value += 1
            except OSError:
                continue
        time.sleep(5)


def handshakes(port: int, root: str, *_: object) -> None:
    """Perform one TLS handshake after another."""
    for source in sources():
        try:
            connect(port, root, source).close()
            DONE.value += 1
        except OSError:
            continue


def flood(port: int, root: str, message: bytes) -> None:
    """Send the same message on one connection, as fast as answers arrive."""
    head = f"POST {support.OHTTP_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: message/ohttp-req\r\ncontent-length: {len(message)}\r\n\r\n"
    for source in sources():
        try:
            peer = connect(port, root, source)
            for _ in range(5000):
                peer.sendall(head.encode() + message)
                if not peer.recv(65536):
                    break
                DONE.value += 1
        except OSError:
            continue


def garbage(port: int, root: str, *_: object) -> None:
    """Send bytes that are not a message."""
    flood(port, root, os.urandom(3000))


def junk(port: int, root: str, _: object, pinned: wire.PublicPair, *__: object) -> None:
    """Send an unsigned message that the gateway can open."""
    client = support.PythonClient(f"https://127.0.0.1:{port}", root, pinned, wire.Pair())
    request = client.request("POST", "/predict", b"[]")
    flood(port, root, wire.Exchange(client.keys).seal(request.encode()))


def predict(_: int, __: str, ___: object, ____: object, connector: str) -> None:
    """Request predictions of 31 MiB one after another, as an admitted client."""
    sample = json.dumps(support.samples(1)[0]["image"])
    count = 31 * MIB // (len(sample) + 1)
    ask = '{"instances":[' + ",".join([sample] * count) + "]}"
    while True:
        try:
            peer = http.client.HTTPConnection(connector.removeprefix("http://"), timeout=120)
            peer.request("POST", "/predict", ask, {"content-type": "application/json"})
            peer.getresponse().read()
            peer.close()
            DONE.value += 1
        except OSError:
            time.sleep(0.1)


KINDS = {
    "none": None,
    "idle": idle,
    "unread": unread,
    "body": body,
    "handshakes": handshakes,
    "garbage": garbage,
    "junk": junk,
    "predict": predict,
}
# Seconds until an attack is fully running.
SETTLE = {"unread": 12, "body": 8, "predict": 4}
