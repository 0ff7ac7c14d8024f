#!/usr/bin/env python3
"""migrate_server.c in Python: a master, workers with a SO_REUSEPORT listener each.

usage: migrate_server.py [--gen ID] [--workers N] [--family 4|6] [--shared] PORT
Prints "ready PID" when all workers listen; ends by SIGTERM when what is accepted is finished.
"""
import argparse
import os
import select
import signal
import socket
import sys

HEAD = 27
XOR = bytes(i ^ 0x5A for i in range(256))


def exactly(sock, n):
    parts = []
    while n:
        part = sock.recv(n)
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def serve(sock, gen):
    with sock:
        sock.settimeout(50)
        try:
            head = exactly(sock, HEAD)
            body = exactly(sock, int(head[22:26], 16))
            sock.sendall(head[5:21] + b" %-15s %010d\n" % (gen, os.getpid()) + body.translate(XOR))
        except (EOFError, OSError, ValueError):
            pass


def listener(args):
    sock = socket.socket(socket.AF_INET6 if args.family == 6 else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not args.shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("::1" if args.family == 6 else "127.0.0.1", args.port))
    sock.listen(4096)
    sock.setblocking(False)
    return sock


def work(sock, args, told, end):
    """Until something can be read from `end`: accept and serve, one after the other."""
    sock = sock or listener(args)
    os.write(told, b".")
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(end, select.POLLIN)
    while end not in [fd for fd, _ in poll.poll()]:
        try:
            client, _ = sock.accept()
        except BlockingIOError:
            continue
        serve(client, args.gen.encode())
    sock.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gen", default="-")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--family", type=int, default=4)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("port", type=int)
    args = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    ready, told = os.pipe()
    end, ender = os.pipe()
    shared = listener(args) if args.shared else None
    workers = []
    for _ in range(args.workers):
        pid = os.fork()
        if not pid:
            os.close(ender)
            work(shared, args, told, end)
            os._exit(0)
        workers.append(pid)
    os.close(told)
    for _ in workers:
        if not os.read(ready, 1):
            sys.exit("migrate_server.py: a worker could not start")
    print("ready", os.getpid(), flush=True)
    signal.sigwait([signal.SIGTERM])
    if shared:
        shared.close()
    os.close(ender)
    for pid in workers:
        os.waitpid(pid, 0)


main()
