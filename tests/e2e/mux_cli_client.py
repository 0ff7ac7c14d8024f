#!/usr/bin/env python3
"""Client of mux_cli.bats: u32be messages, each answer checked against its request.

usage: mux_cli_client.py HOST PORT CONNS MSGS [--max BYTES] [--depth N] [--seconds S] [--lossy]
       [--patience S]
Prints one line: answered N tags TAGS. Exits 1 when an answer is wrong, missing or there twice.
Without --lossy every request must be answered. The workers answer in any order.
"""
import argparse
import random
import select
import socket
import struct
import sys
import time


class Conn:
    def __init__(self, address, number, opt):
        self.sock = socket.create_connection(address, timeout=30)
        self.sock.setblocking(False)
        self.random = random.Random(number)
        self.number, self.opt = number, opt
        self.sent, self.tx, self.rx, self.open = 0, b"", bytearray(), {}
        self.answered, self.tags, self.dead = 0, set(), False

    def make(self):
        head = b"%d:%d:" % (self.number, self.sent)
        size = self.random.choice([0, 10, 100, self.random.randrange(self.opt.max)])
        body = head + self.random.randbytes(size)
        self.open[self.sent] = body
        self.sent += 1
        return struct.pack(">I", len(body)) + body

    def more(self):
        if self.opt.end is not None:
            return time.monotonic() < self.opt.end
        return self.sent < self.opt.msgs

    def write(self):
        while not self.dead:
            if not self.tx:
                if len(self.open) >= self.opt.depth or not self.more():
                    return
                self.tx = self.make()
            try:
                self.tx = self.tx[self.sock.send(self.tx):]
            except BlockingIOError:
                return
            except OSError:
                self.dead = True

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.dead = True
            return
        self.rx += data
        while len(self.rx) >= 4:
            n = struct.unpack_from(">I", self.rx)[0]
            if len(self.rx) < 4 + n:
                return
            tag, body = self.rx[4:5], bytes(self.rx[5:4 + n])
            del self.rx[:4 + n]
            conn, num = body.split(b":", 2)[:2]
            if int(conn) != self.number or self.open.pop(int(num), None) != body:
                sys.exit(f"connection {self.number}: wrong answer {body[:40]!r}")
            self.answered += 1
            self.tags.add(tag.decode("latin1"))

    def done(self):
        return self.dead or (not self.more() and not self.tx and not self.open)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("port", type=int)
    p.add_argument("conns", type=int)
    p.add_argument("msgs", type=int)
    p.add_argument("--max", type=int, default=3000)
    p.add_argument("--depth", type=int, default=16)
    p.add_argument("--seconds", type=float)
    p.add_argument("--lossy", action="store_true")
    p.add_argument("--patience", type=float, default=3, help="of --lossy: seconds without an answer")
    p.add_argument("--close", action="store_true", help="close each connection when it is done")
    opt = p.parse_args()
    opt.end = time.monotonic() + opt.seconds if opt.seconds else None
    conns = [Conn((opt.host, opt.port), i, opt) for i in range(opt.conns)]
    last, moved = 0, time.monotonic()
    while True:
        live = [c for c in conns if not c.done()]
        if not live:
            break
        writers = [c.sock for c in live if c.tx or (len(c.open) < opt.depth and c.more())]
        select.select([c.sock for c in live], writers, [], 0.2)
        for c in live:
            c.write()
            c.read()
            if opt.close and c.done():
                c.sock.close()
        total = sum(c.answered for c in conns)
        if total != last:
            last, moved = total, time.monotonic()
        elif time.monotonic() - moved > (opt.patience if opt.lossy else 20):
            break
    answered = sum(c.answered for c in conns)
    missing = sum(len(c.open) for c in conns)
    tags = "".join(sorted(set().union(*(c.tags for c in conns))))
    print(f"answered {answered} tags {tags} missing {missing}", flush=True)
    if missing and not opt.lossy:
        sys.exit(f"{missing} requests without an answer")


main()
