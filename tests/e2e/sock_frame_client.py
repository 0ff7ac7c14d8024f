#!/usr/bin/env python3
"""Clients of tests/e2e/sock_frame.bats: they count and time what they do on one connection.

usage: sock_frame_client.py MODE PORT N
Prints one line of JSON when done and keeps the connection until its stdin ends.
"""
import json
import random
import socket
import struct
import sys
import time

mode, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rnd = random.Random(port * 7919 + n)
s = socket.create_connection(("127.0.0.1", port))
s.settimeout(30)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
buf = b""
asked = answered = 0
sum_ns = max_ns = timed = 0


def more():
    global buf
    data = s.recv(65536)
    if not data:
        raise EOFError
    buf += data


def take(count):
    global buf
    while len(buf) < count:
        more()
    data, buf = buf[:count], buf[count:]
    return data


def line():
    while b"\n" not in buf:
        more()
    return take(buf.index(b"\n") + 1)


def send(data, requests=1, cut=None):
    """In pieces, if told so: each a segment of its own, more or less."""
    global asked
    asked += requests
    if cut is None:
        cut = rnd.random() < 0.2
    while cut and len(data) > 1:
        k = rnd.randint(1, max(1, len(data) // 3))
        s.sendall(data[:k])
        data = data[k:]
    s.sendall(data)


def http_reply(method):
    """One final reply; interim ones count, too."""
    global answered
    while True:
        code = int(line().split()[1])
        size, chunked = None, False
        while True:
            name, _, value = line().decode().strip().partition(":")
            if not name:
                break
            if name.lower() == "content-length":
                size = int(value)
            if name.lower() == "transfer-encoding":
                chunked = "chunked" in value
        answered += 1
        if code == 101 or code >= 200:
            break
    if method == "HEAD" or code in (101, 204, 304) or (method == "CONNECT" and code == 200):
        return code
    if chunked:
        while True:
            k = int(line().split(b";")[0], 16)
            if not k:
                break
            take(k + 2)
        while line().strip():
            pass
    elif size is None:
        try:
            while True:
                more()
        except EOFError:
            pass
    else:
        take(size)
    return code


def http_get(path="/small", method="GET", head="", body=""):
    if body:
        head += "Content-Length: %d\r\n" % len(body)
    return ("%s %s HTTP/1.1\r\nHost: test\r\n%s\r\n%s" % (method, path, head, body)).encode()


def timed_call(fn):
    global sum_ns, max_ns, timed
    t = time.monotonic_ns()
    fn()
    t = time.monotonic_ns() - t
    sum_ns += t
    max_ns = max(max_ns, t)
    timed += 1


def http():
    """Keep-alive: with a length, in chunks, HEAD, 304, an error, a body; one after the other."""
    kinds = [
        ("GET", "/small", "", "", 200),
        ("GET", "/big", "", "", 200),
        ("GET", "/big", "Accept-Encoding: gzip\r\n", "", 200),
        ("HEAD", "/big", "", "", 200),
        ("HEAD", "/big", "Accept-Encoding: gzip\r\n", "", 200),
        ("GET", "/small", "If-None-Match: *\r\nX-Long: %s\r\n" % ("x" * 900), "", 304),
        ("GET", "/none", "Cookie: %s\r\n" % ("y" * 3000), "", 404),
        ("POST", "/post", "", "z" * 5000, 200),
        ("GET", "/empty", "", "", 204),
    ]
    for _ in range(n):
        method, path, head, body, code = rnd.choice(kinds)

        def one():
            send(http_get(path, method, head, body))
            got = http_reply(method)
            assert got == code, (method, path, got)

        timed_call(one)


def http_pipeline():
    while asked < n:
        methods = [rnd.choice(["GET", "HEAD"]) for _ in range(rnd.randint(1, 40))]
        send(b"".join(http_get("/small", m) for m in methods), len(methods))
        for m in methods:
            http_reply(m)


def http_continue():
    global answered
    for _ in range(n):
        send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert line().split()[1] == b"100"
        answered += 1
        line()
        send(b"0123456789", 0)
        assert http_reply("POST") == 200


def http_upgrade():
    send(http_get())
    http_reply("GET")
    send(http_get("/up", head="Connection: upgrade\r\nUpgrade: x\r\n"))
    assert http_reply("GET") == 101
    for _ in range(n):  # what follows is anything but HTTP
        send(bytes(rnd.randrange(256) for _ in range(64)), 0)
        take(64)


def http_connect():
    send(http_get("/no", "CONNECT"))
    assert http_reply("GET") == 403  # a refusal has a body
    send(http_get("a:1", "CONNECT"))
    assert http_reply("CONNECT") == 200
    for _ in range(n):
        send(b"\r\n\0\xff" * 16, 0)
        take(64)


def http_close():
    send(http_get())
    http_reply("GET")
    send(http_get("/close"))
    http_reply("GET")


def resp():
    global answered

    def reply():
        first = line()
        if first[:1] == b"$" and int(first[1:]) >= 0:
            take(int(first[1:]) + 2)
        if first[:1] == b"*":
            for _ in range(int(first[1:])):
                reply()

    def command(*words):
        out = b"*%d\r\n" % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b"$%d\r\n%s\r\n" % (len(w), w)
        return out

    while asked < n:
        batch = []
        for _ in range(rnd.choice([1, 1, 1, 30])):
            key = "k%d" % rnd.randrange(50)
            batch.append(rnd.choice([
                command("SET", key, rnd.randbytes(rnd.choice([0, 10, 100, 70000]))),
                command("GET", key), command("MGET", *["k%d" % i for i in range(10)]),
                command("NOSUCH"), b"PING\r\n", command("LRANGE", "list", 0, -1),
                command("RPUSH", "list", "a"), command("DEL", "list")]))

        def one():
            global answered
            send(b"".join(batch), len(batch))
            for _ in batch:
                reply()
                answered += 1

        timed_call(one)


def memcached():
    """An item of a reply, and its END, are messages."""
    global answered
    while asked < n:
        key = "k%d" % rnd.randrange(20)
        value = rnd.randbytes(rnd.choice([1, 10, 100, 70000]))
        kind = rnd.randrange(4)
        if kind == 0:
            send(b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(value), value))
            assert line() == b"STORED\r\n"
        elif kind == 1:
            send(b"ms %s %d T0\r\n%s\r\n" % (key.encode(), len(value), value))
            assert line()[:2] == b"HD"
        elif kind == 2:
            send(("get " + " ".join("k%d" % i for i in range(20)) + "\r\n").encode())
            while True:
                words = line().split()
                if words[0] == b"END":
                    break
                take(int(words[3]) + 2)
                answered += 1
        else:
            send(("mg %s v\r\n" % key).encode())
            words = line().split()
            if words[0] == b"VA":
                take(int(words[1]) + 2)
        answered += 1


def postgres():
    """As libpq begins, and a server without encryption answers; queries have four answers."""
    global answered
    for code in (80877104, 80877103):
        send(struct.pack(">II", 8, code))
        assert take(1) == b"N"
        answered += 1

    def message():
        global answered
        kind, size = struct.unpack(">cI", take(5))
        take(size - 4)
        answered += 1
        return kind

    send(struct.pack(">II", 8 + 10, 196608) + b"user\0test\0")
    while message() != b"Z":
        pass
    for _ in range(n):
        q = b"select '%s'\0" % (b"x" * rnd.choice([1, 100, 5000]))
        send(b"Q" + struct.pack(">I", 4 + len(q)) + q)
        while message() != b"Z":
            pass


def postgres_tls():
    global answered
    send(struct.pack(">II", 8, 80877103))
    assert take(1) == b"S"
    answered += 1
    for _ in range(n):
        send(b"\x16\x03\x01\x00" * 16, 0)
        take(64)


{k: v for k, v in globals().items() if callable(v)}[mode.replace("-", "_")]()
print(json.dumps({"port": s.getsockname()[1], "asked": asked, "answered": answered,
                  "timed": timed, "sum_ns": sum_ns, "max_ns": max_ns}), flush=True)
sys.stdin.read()
