#!/usr/bin/env python3
"""A server of migrate_msg.h's protocol that does, one connection after the other, each wrong thing
there is, for the test of migrate_load. Prints its port; ends with its stdin.

usage: migrate_bad.py echo|http FILE
"""
import os
import re
import socket
import struct
import sys
import threading
import time

XOR = bytes(i ^ 0x5A for i in range(256))
WRONG = ["ok", "empty", "rst_before", "rst_after", "rst_end", "short", "bit", "more", "other_id", "never"]


def request(sock, http):
    got = b""
    while True:
        if http and got.endswith(b"\r\n\r\n"):
            return got
        if not http and len(got) >= 27 and len(got) == 27 + int(got[22:26], 16):
            return got
        got += sock.recv(4096)


def response(got, http, content):
    if not http:
        return got[5:21] + b" %-15s %010d\n" % (b"g1", os.getpid()) + got[27:].translate(XOR)
    ident = re.search(rb"id=([0-9a-f]{16}) ", got)[1]
    return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Id: %s\r\nX-Gen: g1\r\nX-Pid: 1\r\n\r\n"
            % (len(content), ident) + content)


def reset(sock):
    # What was sent has arrived when its reset comes: loopback keeps the order, and the client
    # that reads late would lose it.
    time.sleep(0.1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve(sock, what, http, content):
    with sock:
        got = request(sock, http)
        whole = response(got, http, content)
        if what == "rst_before":
            reset(sock)
        elif what == "rst_after":
            sock.sendall(whole[:30])
            reset(sock)
        elif what == "rst_end":
            sock.sendall(whole)
            reset(sock)
        elif what == "short":
            sock.sendall(whole[:-1])
        elif what == "bit":
            sock.sendall(whole[:-1] + bytes([whole[-1] ^ 1]))
        elif what == "more":
            sock.sendall(whole + b"x")
        elif what == "other_id":
            at = whole.index(b"X-Id: ") + 6 if http else 0
            sock.sendall(whole[:at] + (b"1" if whole[at:at + 1] == b"0" else b"0") + whole[at + 1:])
        elif what == "never":
            sock.recv(1)  # the client gives up
        elif what == "ok":
            sock.sendall(whole)


def main():
    http = sys.argv[1] == "http"
    with open(sys.argv[2], "rb") as file:
        content = file.read()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    n = 0
    while True:
        sock, _ = listener.accept()
        args = (sock, WRONG[n % len(WRONG)], http, content)
        threading.Thread(target=serve, args=args, daemon=True).start()
        n += 1


main()
