"""flow: policies come and go in front of all the other traffic, and each change is seen at once.

Datagrams to OPEN are always let pass: each must come, once and whole. Datagrams to GATE are sent when
a policy that drops them is in force, and when it is gone: none must come, and all.
"""
import contextlib
import ctypes
import hashlib
import os
import random
import re
import socket
import subprocess
import time

from host import ADDRESS, CLIENT, DIR, SERVER

OPEN, GATE = 7101, 7102
BATCH = 20
LATE_S = 60  # what has not come by then does not come
FAR = 600  # policies that match nothing here
BASE = f"""100 name open proto udp dport {OPEN} pass
110 name services ip proto tcp dport 7000-8100 pass
"""
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(ns):
    """Sockets that this thread opens are of the namespace, for good."""
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{ns}") as other:
        libc.setns(other.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)


class Probe:
    """Numbered datagrams of contents that follow from their number, to one port."""

    def __init__(self, port):
        with inside(SERVER):
            self.rx = socket.socket(type=socket.SOCK_DGRAM)
            self.rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.rx.bind((ADDRESS, port))
        with inside(CLIENT):
            self.tx = socket.socket(type=socket.SOCK_DGRAM)
            self.tx.connect((ADDRESS, port))
        self.port, self.sent = port, 0

    def datagram(self, n):
        seed = hashlib.sha256(b"%d %d" % (self.port, n)).digest()
        return b"%10d" % n + (seed * 40)[:n * 7919 % 1200]

    def send(self, n):
        first = self.sent
        for self.sent in range(first + 1, first + n + 1):
            self.tx.send(self.datagram(self.sent))
        return set(range(first + 1, first + n + 1))

    def receive(self, soak, want, seconds):
        """Return: those of @want that have not come."""
        want = set(want)
        end = time.monotonic() + seconds
        while want and (left := end - time.monotonic()) > 0:
            self.rx.settimeout(max(left, 0.001))
            try:
                data = self.rx.recv(4096)
            except TimeoutError:
                break
            n = int(data[:10])
            if data != self.datagram(n):
                soak.fail("flow", f"datagram {n} to port {self.port} is torn")
            elif n not in want:
                soak.fail("flow", f"datagram {n} to port {self.port} came twice, or when it was dropped")
            want.discard(n)
        return want


def policy(soak, *words, **more):
    soak.add("flow.rule_changes")
    return soak.kcm("flow", "policy", words[0], "fl0", *words[1:], **more)


def begin(soak):
    soak.must("flow", "load", "fl0", "--policies", "4096", "--cache-entries", "16384")
    # Two sets of one size, so that whichever is in force takes as much memory.
    for n in range(2):
        with open(os.path.join(DIR, f"policies{n}"), "w") as f:
            f.write(BASE + "".join(
                f"{1000 + i} name far{n}.{i} ip src 10.{200 + n}.{i // 250}.{i % 250} proto tcp "
                f"dport {i + 1} drop\n" for i in range(FAR)))
    policy(soak, "replace", "-f", os.path.join(DIR, "policies0"))
    soak.open, soak.gate = Probe(OPEN), Probe(GATE)


def ring_full():
    """Packets that veth had no room for: the sender's own drops, which no policy is to blame for."""
    out = subprocess.run(["ip", "-n", CLIENT, "-s", "-j", "link", "show", "fl1"],
                         capture_output=True, text=True).stdout
    return int(re.search(r'"tx":.*?"dropped":(\d+)', out)[1])


def lost(soak, probe, missing, full_before):
    if not missing:
        return
    full = ring_full() - full_before
    if full >= len(missing):
        soak.excuse("flow: datagrams that found the ring of veth full", len(missing))
    else:
        soak.fail("flow", f"{len(missing)} datagrams to port {probe.port} did not come, of which veth "
                          f"itself dropped {full}")


def steady(soak):
    full = ring_full()
    while soak.pause(0.1):
        missing = soak.open.receive(soak, soak.open.send(5), LATE_S)
        soak.add("flow.datagrams", 5)
        lost(soak, soak.open, missing, full)
        if missing:
            full = ring_full()


def gate_counter(soak):
    shown = soak.kcm("flow", "policy", "show", "fl0") or {"policies": []}
    return next((p["packets"] for p in shown["policies"] if p["name"] == "gate"), -1)


def gate(soak):
    """Shut: nothing comes from when the command returns. Open: all comes."""
    if not policy(soak, "add", 50, "name", "gate", "proto", "udp", "dport", GATE, "drop"):
        return
    before = gate_counter(soak)
    full = ring_full()
    soak.gate.send(BATCH)
    soak.until("what was sent to the gate is counted", lambda: gate_counter(soak) - before >= BATCH
               or ring_full() > full, 60)
    soak.add("flow.dropped_as_told", BATCH)
    if not policy(soak, "del", "gate"):
        return
    full = ring_full()
    lost(soak, soak.gate, soak.gate.receive(soak, soak.gate.send(BATCH), LATE_S), full)
    soak.add("flow.datagrams", BATCH)


def replace(soak):
    soak.add("flow.replaced")
    policy(soak, "replace", "-f", os.path.join(DIR, f"policies{random.randrange(2)}"))


def squeeze(soak):
    """Some loss for the stream of large messages, by a limit that it exceeds."""
    if policy(soak, "add", 60, "name", "squeeze", "proto", "tcp", "dport", 7100, "limit", "300Mbit"):
        soak.pause(3)
        policy(soak, "del", "squeeze")


def again(soak):
    soak.add("flow.loads")
    soak.kcm("flow", "load", "fl0", "--policies", "4096", "--cache-entries", "16384")


def rules(soak):
    while soak.pause(random.uniform(2, 5)):
        random.choice((gate, gate, replace, squeeze, again))(soak)


def end(soak):
    s = soak.kcm("flow", "stat", "fl0")
    if s:
        soak.add("flow.packets", s["hits"] + s["misses"])
        if s["bad"]:
            soak.fail("flow", f"{s['bad']} packets were taken for malformed")
    soak.kcm("flow", "unload", "fl0")


PARTS = (steady, rules)
