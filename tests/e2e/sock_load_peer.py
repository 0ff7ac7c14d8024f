#!/usr/bin/env python3
"""Both ends of TCP connections over loopback, commanded line by line.

Prints the listener's port, then a line for each command:
  open N      N connections more
  send N      N messages (u32be) of random length on each, echoed
  start/stop  the same without end in the background, until told to stop
  udp         a connected UDP socket more; `dgram N` sends N datagrams from each to nobody
  totals      JSON: what each end of each connection has sent and received
  rates       JSON: SO_MAX_PACING_RATE of the clients
  close       close all connections
"""
import json
import random
import socket
import struct
import sys
import threading

SO_MAX_PACING_RATE = 47


def exactly(sock, n):
    parts = []
    while n:
        part = sock.recv(min(n, 65536))
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


class Pair:
    def __init__(self, listener):
        self.client = socket.create_connection(listener.getsockname())
        self.server, _ = listener.accept()
        for s in (self.client, self.server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.client.getsockname()[1]
        self.bytes = 0
        self.msgs = 0

    def exchange(self):
        body = random.randbytes(random.choice((1, 40, 500, 3000, 20000)))
        msg = struct.pack(">I", len(body)) + body
        self.client.sendall(msg)
        if exactly(self.server, len(msg)) != msg:
            sys.exit("the server got other bytes")
        self.server.sendall(msg)
        if exactly(self.client, len(msg)) != msg:
            sys.exit("the client got other bytes")
        self.bytes += len(msg)
        self.msgs += 1


def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    pairs, udp = [], []
    stop, worker = threading.Event(), None

    def forever():
        while not stop.is_set():
            for p in pairs:
                p.exchange()

    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        n = int(rest[0]) if rest else 1
        answer = "ok"
        if word == "open":
            pairs += [Pair(listener) for _ in range(n)]
        elif word == "send":
            for p in pairs:
                for _ in range(n):
                    p.exchange()
        elif word == "start":
            stop.clear()
            worker = threading.Thread(target=forever)
            worker.start()
        elif word == "stop":
            stop.set()
            worker.join()
        elif word == "udp":
            s = socket.socket(type=socket.SOCK_DGRAM)
            sink = socket.socket(type=socket.SOCK_DGRAM)
            sink.bind(("127.0.0.1", 0))
            s.connect(sink.getsockname())
            udp.append((s, sink))
        elif word == "dgram":
            for s, sink in udp:
                for _ in range(n):
                    s.send(b"d" * 100)
                    sink.recv(200)
        elif word == "totals":
            answer = json.dumps([{"port": p.port, "bytes": p.bytes, "msgs": p.msgs} for p in pairs])
        elif word == "rates":
            answer = json.dumps([
                struct.unpack("Q", p.client.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8))[0]
                for p in pairs])
        elif word == "close":
            for p in pairs:
                p.client.close()
                p.server.close()
            pairs.clear()
        print(answer, flush=True)


main()
