#!/usr/bin/env python3
"""Both ends of connections over loopback, driven by lines on stdin; answers are lines of JSON.

    open [4|6]           a new connection; its number, cookies, ports
    send N BYTES         from its client; what came at its server: seconds, sha256 equal
    msgs N COUNT SIZE    the same with COUNT messages u32be of SIZE bytes in all
    some N SECONDS SIZE  messages for so long: how many came, counted after the first quarter
    pace N [BYTES]       SO_MAX_PACING_RATE of its client: set, get
    udp / datagrams N COUNT SIZE
    close N
"""
import hashlib
import json
import socket
import struct
import sys
import threading
import time

SO_COOKIE, SO_MAX_PACING_RATE, SO_RCVBUFFORCE = 57, 47, 33


class Pair:
    def __init__(self, family, kind):
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.port = ports.setdefault((family, kind), 0)
        if kind == socket.SOCK_STREAM:
            if (family, kind) not in listeners:
                listeners[family, kind] = socket.create_server((host, 0), family=family)
                self.port = ports[family, kind] = listeners[family, kind].getsockname()[1]
            self.client = socket.create_connection((host, self.port))
            self.server = listeners[family, kind].accept()[0]
        else:
            self.server = socket.socket(family, kind)
            self.server.bind((host, 0))
            self.server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            self.port = self.server.getsockname()[1]
            self.client = socket.socket(family, kind)
            self.client.connect((host, self.port))
        self.server.settimeout(120)

    def cookie(self, end):
        return struct.unpack("Q", end.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]

    def transfer(self, data):
        sent, got = hashlib.sha256(data).digest(), hashlib.sha256()
        start = time.monotonic()
        sender = threading.Thread(target=self.client.sendall, args=(data,))
        sender.start()
        left = len(data)
        while left:
            part = self.server.recv(min(left, 1 << 18))
            if not part:
                break
            got.update(part)
            left -= len(part)
        seconds = time.monotonic() - start
        sender.join()
        return {"seconds": seconds, "rate": len(data) / seconds,
                "intact": not left and got.digest() == sent}

    def flow(self, seconds, sizes):
        """Messages of the sizes in turn; how many a second came in the last three quarters."""
        stop = threading.Event()

        def send():
            at = 0
            while not stop.is_set():
                batch = bytearray()
                while len(batch) < 16384:
                    size = sizes[at % len(sizes)]
                    at += 1
                    batch += struct.pack(">I", size - 4) + b"x" * (size - 4)
                try:
                    self.client.sendall(batch)
                except OSError:
                    return

        sender = threading.Thread(target=send)
        sender.start()
        start, begin, msgs, bytes_, pending = time.monotonic(), None, 0, 0, bytearray()
        while True:
            now = time.monotonic()
            if begin is None and now - start > seconds / 4:
                begin, msgs, bytes_ = now, 0, 0
            if now - start > seconds:
                break
            pending += self.server.recv(1 << 18)
            at = 0
            while len(pending) - at >= 4:
                size = 4 + struct.unpack_from(">I", pending, at)[0]
                if len(pending) - at < size:
                    break
                at += size
                msgs += 1
                bytes_ += size
            del pending[:at]
        result = {"per_s": msgs / (now - begin), "rate": bytes_ / (now - begin)}
        stop.set()
        self.client.shutdown(socket.SHUT_RDWR)
        sender.join()
        return result

    def datagrams(self, count, size):
        got = []

        def receive():
            self.server.settimeout(1)
            try:
                while True:
                    got.append(self.server.recv(65536))
            except (TimeoutError, socket.timeout):
                pass

        receiver = threading.Thread(target=receive)
        receiver.start()
        start = time.monotonic()
        for i in range(count):
            self.client.send(struct.pack(">I", i).ljust(size, b"x"))
        seconds = time.monotonic() - start
        receiver.join()
        return {"seconds": seconds, "sent": count, "got": len(got)}


def data_of(length):
    return b"".join(b"%016x" % i for i in range(length // 16 + 1))[:length]


listeners, ports, pairs = {}, {}, []
for line in sys.stdin:
    verb, *args = line.split()
    pair = pairs[int(args[0])] if args and verb not in ("open", "udp") else None
    if verb in ("open", "udp"):
        family = socket.AF_INET6 if args == ["6"] else socket.AF_INET
        kind = socket.SOCK_STREAM if verb == "open" else socket.SOCK_DGRAM
        pair = Pair(family, kind)
        pairs.append(pair)
        answer = {"n": len(pairs) - 1, "port": pair.port, "client": pair.cookie(pair.client),
                  "server": pair.cookie(pair.server)}
    elif verb == "send":
        answer = pair.transfer(data_of(int(args[1])))
    elif verb == "msgs":
        size = int(args[2])
        message = struct.pack(">I", size - 4) + b"x" * (size - 4)
        answer = pair.transfer(message * int(args[1]))
    elif verb == "some":
        answer = pair.flow(float(args[1]), [int(s) for s in args[2].split(",")])
    elif verb == "pace":
        if len(args) > 1:
            pair.client.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE,
                                   struct.pack("Q", int(args[1])))
        rate = struct.unpack("Q", pair.client.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8))
        answer = {"pace": rate[0]}
    elif verb == "label":
        pair.client.setsockopt(0x6B636D, 1, args[1].encode())
        answer = {"label": args[1]}
    elif verb == "datagrams":
        answer = pair.datagrams(int(args[1]), int(args[2]))
    else:
        pair.client.close()
        pair.server.close()
        answer = {"closed": True}
    print(json.dumps(answer), flush=True)
