#!/usr/bin/env python3
"""Connections for sock_show.bats. What is open stays open until a line comes on standard input.

pairs N BYTES FAMILY   N connections; the i-th client sends i * BYTES, the server answers "ok"
rpc PORT N [MS]        one connection, N messages of u32be each way; the last answer takes MS longer
quick N                N connections, one after the other, closed at once
refused                a connection that is refused
udp                    a connected UDP socket that sends "hello"
Prints the server's port when all of that is done.
"""
import socket
import struct
import sys
import threading
import time


def listener(family):
    s = socket.socket(family)
    s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    s.listen(128)
    return s


def exactly(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def pairs(n, size, family):
    s = listener(socket.AF_INET6 if family == "inet6" else socket.AF_INET)
    kept = [s]
    for i in range(1, int(n) + 1):
        c = socket.create_connection(s.getsockname()[:2])
        d = s.accept()[0]
        # What is long does not fit into the buffers of every kernel.
        sender = threading.Thread(target=c.sendall, args=(b"x" * (i * int(size)),))
        sender.start()
        exactly(d, i * int(size))
        sender.join()
        d.sendall(b"ok")
        exactly(c, 2)
        kept += [c, d]
    return s.getsockname()[1], kept


def rpc(port, n, slow_ms="0"):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", int(port)))
    s.listen()
    c = socket.create_connection(s.getsockname())
    d = s.accept()[0]
    for i in range(int(n)):
        c.sendall(struct.pack(">I", 10) + b"0123456789")
        exactly(d, 14)
        if i + 1 == int(n):
            time.sleep(int(slow_ms) / 1000)
        d.sendall(struct.pack(">I", 3) + b"yes")
        exactly(c, 7)
    return port, [s, c, d]


def quick(n):
    s = listener(socket.AF_INET)
    for _ in range(int(n)):
        c = socket.create_connection(s.getsockname())
        s.accept()[0].close()
        c.close()
    return s.getsockname()[1], [s]


def refused():
    s = listener(socket.AF_INET)
    addr = s.getsockname()
    s.close()
    try:
        socket.create_connection(addr)
    except ConnectionRefusedError:
        return addr[1], []
    raise AssertionError("connected to nobody")


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    c.connect(s.getsockname())
    c.send(b"hello")
    return s.getsockname()[1], [s, c]


PORT, KEPT = globals()[sys.argv[1]](*sys.argv[2:])
print(PORT, flush=True)
sys.stdin.readline()
