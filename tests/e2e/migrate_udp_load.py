#!/usr/bin/env python3
"""Many UDP flows with sessions, each answer checked: the client of migrate_udp.bats.

usage: migrate_udp_load.py ADDRESS PORT [CID]

Reads commands, a line each, and answers each with a line of JSON:
  open TAG N       N new flows, each from an address of its own, and one exchange with each
  talk TAG N       N exchanges more of each flow of TAG; TAG may be * everywhere
  run TAG          exchanges without end, until `halt`
  churn TAG N      N new flows at a time, of a few exchanges each, without end, until `halt`
  halt TAG         what became of a run or churn
  rebind TAG       each flow goes on from another address
  reopen TAG       each flow begins a new session, from the same address
  who TAG          who has each flow: {"GEN.PID.SOCKET": how many}
  close TAG        forget them
Answers have "exchanges", "gens": {GEN: flows or, of a churn, flows that ended there}, and
"failures": {what: how many}: lost (no answer within a long time), refused (ICMP), nosession,
token, moved (another socket answers), content. A flow that has failed says nothing more.
CID: packets have QUIC's headers, the server's connection ids are of so many bytes.
"""
import collections
import errno
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time

MAGIC = 0x3155434B
PAD = 256
ASK = struct.Struct("<IIQQQ")
ANSWER = struct.Struct("<IIQQQII16s")
LOST_S = 30      # no measure of anything: what takes longer is lost
PAUSE_S = 0.005  # between two exchanges of a flow that runs
CHURN = 4        # exchanges of a flow of a churn
STATUS = ["", "nosession", "token", "content"]


class Flow:
    def __init__(self, load, tag):
        self.load, self.tag = load, tag
        self.id = random.getrandbits(63)
        self.seq = self.token = 0
        self.who = None
        self.want = 0           # exchanges still to make; -1: without end
        self.waits = False
        self.dead = False
        self.serial = 0         # of the last request, for its deadline
        self.cid = None         # the server's
        self.first = os.urandom(8)
        self.sock = None
        self.socket()

    def socket(self):
        old, self.sock = self.sock, socket.socket(self.load.family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        if self.load.family == socket.AF_INET:
            # An address of its own, too: a port is soon used again, and then it is the same flow.
            self.load.last += 1
            self.sock.bind(("127.%d.%d.%d" % (1 + (self.load.last >> 16), self.load.last >> 8 & 255,
                                              self.load.last & 255), 0))
        self.sock.connect((self.load.address, self.load.port))
        self.load.flows_by_fd[self.sock.fileno()] = self
        self.load.poll.register(self.sock, select.EPOLLIN)
        if old:  # after the new one: not the same port again
            self.load.forget(old)

    def header(self):
        """QUIC's: Initial with an id that we make up, Handshake with the server's, then short."""
        if not self.load.cid:
            return b""
        if not self.cid:
            return b"\xc0\0\0\0\1" + bytes([len(self.first)]) + self.first + b"\0"
        if self.seq <= 2:
            return b"\xe0\0\0\0\1" + bytes([len(self.cid)]) + self.cid + b"\0"
        return b"\x40" + self.cid

    def ask(self, fresh=False):
        if fresh:
            self.seq = self.token = 0
            self.who = None
            self.cid = None
        self.seq += 1
        self.waits = True
        self.serial += 1
        text = self.header() + ASK.pack(MAGIC, 1 if self.seq == 1 else 0, self.id, self.seq,
                                        self.token)
        start = (self.id + self.seq) & 255
        text += PATTERN[start:start + PAD]
        self.load.later(LOST_S, self, "lost", self.serial)
        try:
            self.sock.send(text)
        except OSError as e:
            self.fail("refused" if e.errno == errno.ECONNREFUSED else e.strerror)

    def fail(self, what):
        self.waits, self.dead, self.want = False, True, 0
        self.load.stats[self.tag].failures[what] += 1

    def body(self, got):
        if not self.load.cid:
            return got
        if got[0] & 0x80:
            n = got[6]
            self.cid = got[7:7 + n]
            return got[7 + n:]
        return got[1:]

    def hear(self):
        try:
            got = self.sock.recv(2048)
        except BlockingIOError:
            return
        except OSError as e:
            self.fail("refused" if e.errno == errno.ECONNREFUSED else e.strerror)
            return
        if self.dead:
            return
        got = self.body(got)
        magic, status, flow, seq, token, pid, sock, gen = ANSWER.unpack_from(got)
        start = (self.id ^ self.seq) & 255
        if (magic != MAGIC or flow != self.id or seq != self.seq or not self.waits or
                got[ANSWER.size:] != PATTERN[start:start + PAD]):
            return self.fail("content")
        if status:
            return self.fail(STATUS[status])
        gen = gen.rstrip(b"\0").decode()
        who = "%s.%d.%d" % (gen, pid, sock)
        if self.who and who != self.who:
            return self.fail("moved")
        self.who, self.token, self.waits = who, token, False
        stats = self.load.stats[self.tag]
        stats.exchanges += 1
        if self.want > 0:
            self.want -= 1
        if self.want:
            if self.tag in self.load.running:
                self.load.later(PAUSE_S, self, "next", self.serial)
            else:
                self.ask()

    def timed(self, what, serial):
        if self.dead or serial != self.serial:
            return
        if what == "lost" and self.waits:
            self.fail("lost")
        elif what == "next" and not self.waits and self.want:
            self.ask()


class Stats:
    def __init__(self):
        self.exchanges = 0
        self.failures = collections.Counter()
        self.gens = collections.Counter()


class Load:
    def __init__(self, address, port, cid):
        self.address, self.port, self.cid = address, port, cid
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.flows = collections.defaultdict(list)
        self.stats = collections.defaultdict(Stats)
        self.running = set()
        self.churns = {}
        self.flows_by_fd = {}
        self.timers = []
        self.n = 0
        self.last = random.getrandbits(21)
        self.poll = select.epoll()
        self.poll.register(0, select.EPOLLIN)
        self.input = b""

    def later(self, s, flow, what, serial):
        self.n += 1
        heapq.heappush(self.timers, (time.monotonic() + s, self.n, flow, what, serial))

    def forget(self, sock):
        self.flows_by_fd.pop(sock.fileno(), None)
        self.poll.unregister(sock)
        sock.close()

    def drop(self, flow):
        flow.dead = True
        self.forget(flow.sock)

    # ---- one turn ----

    def step(self):
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            _, _, flow, what, serial = heapq.heappop(self.timers)
            flow.timed(what, serial)
        wait = max(0, min(self.timers[0][0] - now, 1)) if self.timers else 1
        command = False
        for fd, _ in self.poll.poll(wait):
            if fd == 0:
                command = True
            elif fd in self.flows_by_fd:
                self.flows_by_fd[fd].hear()
        for tag in self.churns:
            self.churn(tag)
        return command

    def churn(self, tag):
        stats, keep = self.stats[tag], []
        for flow in self.flows[tag]:
            if flow.want or flow.waits:
                keep.append(flow)
                continue
            if not flow.dead:
                stats.gens[flow.who.split(".")[0]] += 1
            self.drop(flow)
        while len(keep) < self.churns[tag]:
            flow = Flow(self, tag)
            flow.want = CHURN
            keep.append(flow)
            flow.ask()
        self.flows[tag] = keep

    def until_idle(self, flows):
        while any(f.waits or f.want > 0 for f in flows):
            self.step()

    # ---- commands ----

    def of(self, tag):
        if tag == "*":
            return [f for flows in self.flows.values() for f in flows]
        return self.flows[tag]

    def answer(self, tag, extra=None):
        stats = self.stats.pop(tag, Stats())
        gens = stats.gens
        for f in self.of(tag):
            if not f.dead and f.who and tag not in self.churns:
                gens[f.who.split(".")[0]] += 1
        return dict({"exchanges": stats.exchanges, "gens": gens, "failures": stats.failures},
                    **(extra or {}))

    def exchange(self, tag, n, fresh=False):
        flows = [f for f in self.of(tag) if not f.dead]
        for f in flows:
            f.want = n
            f.ask(fresh)
        self.until_idle(flows)
        return self.answer(tag)

    def do(self, words):
        verb, tag = words[0], words[1]
        n = int(words[2]) if len(words) > 2 else 1
        if verb == "open":
            for _ in range(n):
                self.flows[tag].append(Flow(self, tag))
            return self.exchange(tag, 1)
        if verb == "talk":
            return self.exchange(tag, n)
        if verb == "reopen":
            return self.exchange(tag, 1, fresh=True)
        if verb == "run":
            self.running.add(tag)
            for f in self.of(tag):
                f.want = -1
                f.ask()
            return {}
        if verb == "churn":
            self.churns[tag] = n
            self.churn(tag)
            return {}
        if verb == "count":
            return {"exchanges": self.stats[tag].exchanges,
                    "gens": self.stats[tag].gens}
        if verb == "halt":
            churns = self.churns.pop(tag, None)
            self.running.discard(tag)
            for f in self.of(tag):
                f.want = max(f.want, 0)
            self.until_idle(self.of(tag))
            if churns is not None:
                for f in self.flows.pop(tag):
                    if not f.dead:
                        self.stats[tag].gens[f.who.split(".")[0]] += 1
                    self.drop(f)
            return self.answer(tag)
        if verb == "rebind":
            for f in self.of(tag):
                f.socket()
            return {}
        if verb == "who":
            return collections.Counter(f.who for f in self.of(tag) if not f.dead)
        if verb == "close":
            for f in self.flows.pop(tag, []):
                self.drop(f)
            return {}
        raise ValueError("no such command")

    def main(self):
        print(json.dumps({"ready": os.getpid()}), flush=True)
        while True:
            if not self.step():
                continue
            got = os.read(0, 65536)
            if not got:
                return
            self.input += got
            while b"\n" in self.input:
                line, self.input = self.input.split(b"\n", 1)
                try:
                    print(json.dumps(self.do(line.decode().split())), flush=True)
                except (OSError, ValueError, IndexError) as e:
                    print(json.dumps({"error": repr(e)}), flush=True)


PATTERN = bytes(range(256)) * 3
Load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0).main()
