"""Runs two ranks in a network of their own, and records what they send: `masked_wire.py FOLDER TASK`. Started by `unshare -rn`, writes `FOLDER/TASK.wire`."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

FOLDER, TASK = Path(sys.argv[1]), sys.argv[2]
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6

with socket.socket() as control:
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 27)
wire.bind(("lo", 0))
wire.settimeout(0.2)
ended = threading.Event()


def record():
    """Write the payloads of each TCP connection and direction, put together."""
    streams = {}
    while True:
        try:
            packet, address = wire.recvfrom(1 << 17)
        except TimeoutError:
            if ended.is_set():
                break
            continue
        # The loopback shows each packet as it leaves and as it arrives.
        if address[2] == socket.PACKET_OUTGOING or packet[12:14] != b"\x08\x00" or packet[23] != 6:
            continue
        ip = packet[14:]
        header = (ip[0] & 15) * 4
        total = int.from_bytes(ip[2:4], "big") or len(ip)
        ports = ip[header : header + 4]
        payload = ip[header + (ip[header + 12] >> 4) * 4 : total]
        streams.setdefault(ports, bytearray()).extend(payload)
    (FOLDER / f"{TASK}.wire").write_bytes(b"".join(streams.values()))


recorder = threading.Thread(target=record)
recorder.start()
rank = Path(__file__).with_name("masked_ranks.py")
environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
ranks = [subprocess.Popen([sys.executable, rank, FOLDER, str(number), "2", TASK], env=environment) for number in range(2)]
codes = [process.wait(120) for process in ranks]
ended.set()
recorder.join()
_seen, lost = struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
assert lost == 0, f"{lost} packets were not recorded"
sys.exit(max(codes))
