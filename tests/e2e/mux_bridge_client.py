#!/usr/bin/env python3
"""Client of `kcmtool mux bridge`: answers u32be messages with a tag before the body.

usage: mux_bridge_client.py PATH [--tag T] [--count N] [--die] [--idle SECONDS] [--raw HEX]
Ends after N messages, or when nothing came for so long. --die: leaves with its first message
unanswered. Prints: messages N events N again N
"""
import argparse
import socket
import struct

HDR = struct.Struct("=QQQIiIHHHH16sI")
MORE, KEEP, AGAIN, FAILED = 1, 2, 4, 8
PART = 65536


def main():
    p = argparse.ArgumentParser()
    p.add_argument("path")
    p.add_argument("--tag", default="P")
    p.add_argument("--count", type=int, default=1 << 60)
    p.add_argument("--idle", type=float, default=5)
    p.add_argument("--die", action="store_true")
    p.add_argument("--raw")
    opt = p.parse_args()
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(opt.path)
    s.settimeout(opt.idle)
    if opt.raw is not None:
        s.send(bytes.fromhex(opt.raw))
    messages = events = again = 0
    parts = []
    while messages < opt.count:
        try:
            data = s.recv(HDR.size + PART)
        except socket.timeout:
            break
        if not data:
            break
        conn, ident, _, total, _, offset, event, flags = HDR.unpack_from(data)[:8]
        assert not flags & FAILED or not ident
        if event:
            events += 1
            continue
        if flags & FAILED:
            continue
        assert offset == sum(map(len, parts)), "a part is missing"
        parts.append(data[HDR.size:])
        if flags & MORE:
            continue
        body = b"".join(parts)
        parts = []
        assert len(body) == total and struct.unpack_from(">I", body)[0] == total - 4
        messages += 1
        again += bool(flags & AGAIN)
        if opt.die:
            break
        reply = struct.pack(">I", total - 3) + opt.tag.encode() + body[4:]
        for at in range(0, len(reply), PART):
            part = reply[at:at + PART]
            more = MORE if at + len(part) < len(reply) else 0
            s.send(HDR.pack(conn, ident, 0, 0, 0, 0, 0, more, 0, 0, b"", 0) + part)
    print(f"messages {messages} events {events} again {again}", flush=True)


main()
