#!/usr/bin/env python3
"""kcmtool is killed at random moments of what changes policies, under traffic.

usage: flow_kill.py KILLS      environment: KCMTOOL FLOW_NS FLOW_PEER FLOW_DIR

Two sets of policies say the opposite of each other on two UDP ports. After each kill one of them
must be in force, the one before or the one after: by what is saved, by what test-packet says, and by
packets that come through. Then the next command works, and no slot stays behind.
"""
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

NS, PEER = os.environ["FLOW_NS"], os.environ["FLOW_PEER"]
TOOL, DIR = os.environ["KCMTOOL"], os.environ["FLOW_DIR"]
PORTS = (7001, 7002, 7003)  # what the sets differ in, and one that passes always
EACH = 10
PATIENCE_S = 60
libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), f"setns {name}")
    os.close(fd)


def in_net(*args):
    return ["nsenter", f"--net=/run/netns/{NS}", *args]


def flow(*args):
    done = subprocess.run(in_net(TOOL, "-j", "flow", *args), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"flow {' '.join(args)}: status {done.returncode}: {done.stderr}")
    return done.stdout


def text_of(which, extra=()):
    """0: 7001 is dropped, 7002 passes; 1: the other way around."""
    lines = ["default pass"]
    for place, port in enumerate(PORTS[:2]):
        action = "drop" if place == which else "pass"
        lines.append(f"{10 + 10 * place + which} name {'ab'[which]}{place} ip proto udp dport {port} {action}")
    lines += [f"{1000 + i} ip src 172.16.{i}.0/24 proto tcp dport {i + 1} drop" for i in range(60)]
    return "\n".join(lines + list(extra)) + "\n"


class Wire:
    """UDP from the peer to us, and a thread that sends all the time."""

    def __init__(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        enter(NS)
        self.sockets = []
        for port in PORTS:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("10.9.0.1", port))
            s.settimeout(0.2)
            self.sockets.append(s)
        enter(PEER)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.bind(("10.9.0.2", 6999))
        self.noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.noise.bind(("10.9.0.2", 6998))
        libc.setns(home, 0x40000000)
        os.close(home)
        self.turn = 0
        threading.Thread(target=self.make_noise, daemon=True).start()

    def make_noise(self):
        while True:
            for port in PORTS[:2] * 8:
                try:
                    self.noise.sendto(b"noise", ("10.9.0.1", port))
                except OSError:
                    pass
            time.sleep(0.001)

    def count(self, s, tag):
        """How many packets with the tag are there by now?"""
        n = 0
        s.setblocking(False)
        try:
            while True:
                n += s.recv(64) == tag
        except BlockingIOError:
            return n

    def judged(self):
        """Which of the first two ports are open: 'no', 'yes' or 'mixed' for each."""
        self.turn += 1
        tag = b"turn %d" % self.turn
        for s in self.sockets:
            self.count(s, tag)
        got = [0, 0]
        for _ in range(EACH):
            for place in range(2):
                self.out.sendto(tag, ("10.9.0.1", PORTS[place]))
            # What passes always comes behind them on the same way, so they are there or dropped.
            until = time.monotonic() + PATIENCE_S
            self.sockets[2].settimeout(0.2)
            while True:
                self.out.sendto(tag, ("10.9.0.1", PORTS[2]))
                try:
                    if self.sockets[2].recv(64) == tag:
                        break
                except TimeoutError:
                    pass
                if time.monotonic() > until:
                    sys.exit("nothing passes any more")
            for place in range(2):
                got[place] += self.count(self.sockets[place], tag)
        return tuple("no" if g == 0 else "yes" if g == EACH else f"{g}/{EACH}" for g in got)


def wanted(which):
    return ("no", "yes") if which == 0 else ("yes", "no")


def tried():
    """What test-packet says of the two ports."""
    out = []
    for port in PORTS[:2]:
        said = json.loads(flow("test-packet", "fl0", "--spec",
                               f"ip src 10.9.0.2 dst 10.9.0.1 proto udp sport 6999 dport {port}"))
        out.append("no" if "drop" in json.dumps(said) else "yes")
    return tuple(out)


def slots():
    """(live slots, policies) by the maps of the program in force."""
    link = json.loads(subprocess.check_output(["ip", "-n", NS, "-j", "link", "show", "fl0"]))[0]
    prog = json.loads(subprocess.check_output(
        ["bpftool", "-j", "prog", "show", "id", str(link["xdp"]["prog"]["id"])]))
    for m in prog["map_ids"]:
        info = json.loads(subprocess.check_output(["bpftool", "-j", "map", "show", "id", str(m)]))
        if info["name"] == "kcm_fl_pol":
            break
    dump = json.loads(subprocess.check_output(["bpftool", "-j", "map", "dump", "id", str(m)]))
    live = sum(int("".join(b[2:] for b in reversed(e["value"][:8])), 16) & 1 for e in dump[2:])
    return live, json.loads(flow("policy", "show", "fl0"))["policies"], info["id"]


def saved():
    return subprocess.run(in_net(TOOL, "flow", "policy", "save", "fl0"), capture_output=True,
                          text=True, check=True).stdout


def entries():
    return json.loads(flow("show", "fl0"))["cache_entries"]


def write(name, text):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return path


EXTRA = "900 name extra ip proto udp dport 7009 drop"


def operations(now, has_extra, cache):
    """Name, command, and what is in force after it: (set, extra, cache)."""
    other = 1 - now
    yield "replace", ["policy", "replace", "fl0", "-f", f"{DIR}/set{other}"], (other, False, cache)
    if has_extra:
        yield "del", ["policy", "del", "fl0", "extra"], (now, False, cache)
    else:
        yield "add", ["policy", "add", "fl0", *EXTRA.split()], (now, True, cache)
    sizes = ["--policies", "200", "--cache-entries"]
    yield "load", ["load", "fl0", *sizes, str(cache)], (now, has_extra, cache)
    anew = 2048 if cache == 1024 else 1024
    yield "load anew", ["load", "fl0", *sizes, str(anew)], (now, has_extra, anew)


def main():
    kills = int(sys.argv[1])
    seed = int(os.environ.get("KCM_SEED", time.time_ns() & 0xffffffff))
    print(f"KCM_SEED={seed}")
    chance = random.Random(seed)
    canon = {}
    state = (0, False, 1024)
    flow("load", "fl0", "--policies", "200", "--cache-entries", "1024")
    # As they are written back, with one policy more and without.
    for which in (0, 1):
        write(f"set{which}", text_of(which))
        flow("policy", "replace", "fl0", "-f", f"{DIR}/set{which}")
        canon[which, False] = saved()
        flow("policy", "add", "fl0", *EXTRA.split())
        canon[which, True] = saved()
    flow("policy", "replace", "fl0", "-f", f"{DIR}/set0")
    small = entries()
    wire = Wire()
    took, done, cut = {}, {}, 0
    while cut < kills:
        name, command, after = chance.choice(list(operations(*state)))
        begin = time.monotonic()
        child = subprocess.Popen(in_net(TOOL, "flow", *command), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        if name in took:
            try:
                child.wait(chance.random() * took[name] * 1.1)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
        error = child.stderr.read().decode()
        child.wait()
        child.stderr.close()
        if child.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"{name}: status {child.returncode}: {error}")
        if child.returncode == 0:
            took[name] = time.monotonic() - begin
            state = after
        else:
            cut += 1
            done[name] = done.get(name, 0) + 1
        # The one or the other, and wholly so, before anybody else has changed anything.
        text = saved()
        is_now = [s for s in (state, after) if canon[s[0], s[1]] == text]
        if not is_now:
            sys.exit(f"{name}: neither the set before nor the one after is in force:\n{text}")
        packets = wire.judged()
        if packets != wanted(is_now[0][0]):
            sys.exit(f"{name}: set {is_now[0][0]} is in force, but ports 7001, 7002 open: {packets}")
        if cut % 4 == 0 and tried() != packets:
            sys.exit(f"{name}: test-packet says {tried()}, packets {packets}")
        # The next command goes on from there, and leaves no slot that is nobody's.
        state = (*is_now[0][:2], 1024 if entries() == small else 2048)
        flow("policy", "add", "fl0", "950", "name", "next", "ip", "proto", "udp", "dport", "7010", "drop")
        flow("policy", "del", "fl0", "next")
        if wire.judged() != wanted(state[0]):
            sys.exit(f"{name}: after the next command ports 7001, 7002 open: {wire.judged()}")
        live, policies, used = slots()
        if live != len(policies):
            sys.exit(f"{name}: {live} slots are in use by {len(policies)} policies")
        path = f"/sys/fs/bpf/kcm/flow/{pin_name()}/kcm_fl_pol"
        pinned = json.loads(subprocess.check_output(["bpftool", "-j", "map", "show", "pinned", path]))
        if pinned["id"] != used:
            sys.exit(f"{name}: what is pinned is not what is in use")
    print(f"{cut} killed: " + ", ".join(f"{n} {c}" for n, c in sorted(done.items())))
    return 0


def pin_name():
    return json.loads(flow("show", "fl0"))["name"]


sys.exit(main())
