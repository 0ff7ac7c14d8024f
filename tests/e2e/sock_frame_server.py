#!/usr/bin/env python3
"""Servers of tests/e2e/sock_frame.bats for what is hard to get from real ones.

usage: sock_frame_server.py http|postgres|postgres-tls
Prints its port. http: 101 and CONNECT (then an echo), replies that end with the connection.
"""
import socket
import struct
import sys
import threading

mode = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0), backlog=64)


def echo(c, first=b""):
    if first:
        c.sendall(first)
    while data := c.recv(65536):
        c.sendall(data)


def http(c):
    f = c.makefile("rb")
    while request := f.readline():
        while f.readline().strip():
            pass
        method, path = request.decode().split()[:2]
        if path == "/up":
            c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
            return echo(c)
        if method == "CONNECT" and path != "/no":
            c.sendall(b"HTTP/1.1 200 Yes\r\nContent-Length: 99\r\n\r\n")
            return echo(c)
        if path == "/close":
            c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"HTTP/1.1 this is a body\r\n" * 1000)
            return None
        code = b"403 No" if path == "/no" else b"200 OK"
        c.sendall(b"HTTP/1.1 " + code + b"\r\nContent-Length: 5\r\n\r\nhello")
    return None


def message(kind, body=b""):
    return kind + struct.pack(">I", 4 + len(body)) + body


def postgres(c):
    f = c.makefile("rb")
    while True:
        size, code = struct.unpack(">II", f.read(8))
        f.read(size - 8)
        if code == 196608:
            break
        if mode == "postgres-tls":
            c.sendall(b"S")
            return echo(c)
        c.sendall(b"N")
    c.sendall(message(b"R", b"\0\0\0\0") + message(b"S", b"a\0b\0") + message(b"N", b"x" * 300) +
              message(b"Z", b"I"))
    while head := f.read(5):
        q = f.read(struct.unpack(">I", head[1:])[0] - 4)
        c.sendall(message(b"T", b"t" * 20) + message(b"D", q) + message(b"C", b"SELECT 1\0") +
                  message(b"Z", b"I"))


def serve(c):
    with c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            (http if mode == "http" else postgres)(c)
        except (OSError, struct.error):
            pass


print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
