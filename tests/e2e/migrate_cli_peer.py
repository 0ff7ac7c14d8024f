#!/usr/bin/env python3
"""A server whose listeners open and close as it is told, and its client, for migrate_cli.bats.

usage: migrate_cli_peer.py NAME PORT    reads commands, answers each with one line

open ID [addr=127.0.0.1] [backlog=128] [reuse=1] [hold=0] [n=1] [tfo=before|after] [savesyn=1]
        [mptcp=1] [v6only=1] [dev=lo]   with n: ID0, ID1...
close ID... | shutdown ID... | listen ID BACKLOG | hold ID... | accept ID...
counts                          what each listener has accepted
fork                            a child that has all descriptors; the answer is its pid
name TEXT                       of the process, escapes as of Python
connect N [to=127.0.0.1] [source=ADDRESS]    one after the other: how many were served by whom
begin N [to=127.0.0.1]          the same, without waiting
finish [SECONDS]                who served those, or "reset", or "none" for as long
"""
import collections
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time

NAME, PORT = sys.argv[1], int(sys.argv[2])
TCP_SAVE_SYN = 27
IPPROTO_MPTCP = 262
sel = selectors.DefaultSelector()
listeners, held, accepted, begun = {}, set(), collections.Counter(), []


def opened(addr="127.0.0.1", backlog="128", reuse="1", tfo="", savesyn="", mptcp="", v6only="", dev=""):
    v6 = ":" in addr
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM,
                         IPPROTO_MPTCP if mptcp else 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse))
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(v6only))
    if dev:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    if savesyn:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
    if tfo == "before":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
    sock.bind((addr, PORT))
    sock.listen(int(backlog))
    if tfo == "after":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
    sock.setblocking(False)
    return sock


def do_open(ident, **how):
    hold, n = how.pop("hold", "0") != "0", int(how.pop("n", 0))
    for one in [f"{ident}{i}" for i in range(n)] if n else [ident]:
        listeners[one] = opened(**how)
        (held.add if hold else watch)(one)


def watch(ident):
    held.discard(ident)
    sel.register(listeners[ident], selectors.EVENT_READ, ident)


def do_hold(*idents):
    for one in idents:
        held.add(one)
        sel.unregister(listeners[one])


def do_accept(*idents):
    for one in idents:
        watch(one)


def do_close(*idents):
    for one in idents:
        if one not in held:
            sel.unregister(listeners[one])
        held.discard(one)
        listeners.pop(one).close()


def do_shutdown(*idents):
    for one in idents:
        do_hold(one)
        listeners[one].shutdown(socket.SHUT_RD)


def do_listen(ident, backlog):
    listeners[ident].listen(int(backlog))
    if ident in held:
        watch(ident)


def do_counts():
    return accepted


def do_fork():
    pid = os.fork()
    if pid:
        return pid
    for fd in (0, 1):
        os.close(fd)
    signal.pause()
    os._exit(0)


def do_name(text):
    name = text.encode().decode("unicode_escape").encode("latin1")
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)


def serve(ident):
    try:
        sock, _ = listeners[ident].accept()
    except OSError:
        return
    accepted[ident] += 1
    with sock:
        sock.send(f"{NAME}.{ident}".encode())


# ---- client ----

def started(to, source=""):
    sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
    if source:
        sock.bind((source, 0))
    sock.settimeout(60)
    sock.connect((to, PORT))
    return sock


def served_by(sock, seconds):
    sock.settimeout(max(seconds, 0.001))
    try:
        return sock.recv(64).decode() or "empty"
    except TimeoutError:
        return "none"
    except OSError:
        return "reset"
    finally:
        sock.close()


def do_connect(n, to="127.0.0.1", source="", wait="20"):
    by = collections.Counter()
    for _ in range(int(n)):
        try:
            by[served_by(started(to, source), float(wait))] += 1
        except OSError as e:
            by["refused" if isinstance(e, ConnectionRefusedError) else "failed"] += 1
    return by


def do_begin(n, to="127.0.0.1"):
    begun.extend(started(to) for _ in range(int(n)))


def do_finish(seconds="5"):
    end = time.monotonic() + float(seconds)
    by = collections.Counter(served_by(sock, end - time.monotonic()) for sock in begun)
    begun.clear()
    return by


def command(line):
    verb, *words = line.split(" ")
    try:
        answer = globals()["do_" + verb](*[w for w in words if "=" not in w],
                                         **dict(w.split("=", 1) for w in words if "=" in w))
    except OSError as e:
        answer = {"error": str(e)}
    print(json.dumps({} if answer is None else answer), flush=True)


def main():
    rest = b""
    sel.register(0, selectors.EVENT_READ, None)
    print("{}", flush=True)
    while True:
        for key, _ in sel.select():
            if key.data is not None:
                if key.data in listeners and key.data not in held:
                    serve(key.data)
                continue
            got = os.read(0, 4096)
            if not got:
                return
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                command(line.decode())


main()
