#!/usr/bin/env python3
"""Listeners of every shape and their clients, driven by lines on stdin; answers are lines of JSON.

    open NAME [KEY=VALUE]...  a listener, or with udp=1 a bound socket: family addr reuseport v6only
                              dev mptcp save_syn fastopen defer_accept md5 backlog uid (of the file)
    close NAME
    connect N [md5]           N clients: connections that wait to be accepted
    half N [md5]              N clients whose last ACK of the handshake is lost until `serve`
    syn N                     N requests of clients that are not there
    serve                     accept and answer: how many clients got their own words back
    forget                    close all clients

In a network namespace of its own; the port is the argument.
"""
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

PORT = int(sys.argv[1])
SO_REUSEPORT, SO_BINDTODEVICE, TCP_MD5SIG, TCP_SAVE_SYN, TCP_FASTOPEN = 15, 25, 14, 27, 23
listeners, clients, nfts = {}, [], []


def md5_key(sock):
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 0, bytes([127, 0, 0, 1]))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, address.ljust(128, b"\0") +
                    struct.pack("=BBHI", 0, 0, 3, 0) + b"key".ljust(80, b"\0"))


def open_listener(name, words):
    opts = dict(word.split("=", 1) for word in words)
    take = lambda key, otherwise=0: int(opts.get(key, otherwise))
    family = socket.AF_INET6 if take("family", 4) == 6 else socket.AF_INET
    udp = take("udp")
    sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM,
                         262 if take("mptcp") else 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, take("reuseport", 1))
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, take("v6only"))
    if "dev" in opts:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, opts["dev"].encode())
    sock.bind((opts.get("addr", "::" if family == socket.AF_INET6 else "127.0.0.1"), PORT))
    for key, option in (("save_syn", TCP_SAVE_SYN), ("fastopen", TCP_FASTOPEN),
                        ("defer_accept", socket.TCP_DEFER_ACCEPT)):
        if take(key):
            sock.setsockopt(socket.IPPROTO_TCP, option, take(key))
    if take("md5"):
        md5_key(sock)
    if not udp:
        sock.listen(take("backlog", 128))
    if "uid" in opts: # before, listen() would refuse a second one
        os.fchown(sock.fileno(), take("uid"), -1)
    sock.setblocking(False)
    listeners[name] = sock


def nft(script):
    subprocess.run(["nft", "-f", "-"], input=script.encode(), check=True)


def connect(n, md5):
    for _ in range(n):
        client = socket.socket()
        if md5:
            md5_key(client)
        client.settimeout(60)
        client.connect(("127.0.0.1", PORT))
        clients.append(client)


def drop(what):
    nft("add table inet kcm\n"
        "add chain inet kcm input { type filter hook input priority 0; }\n"
        f"add rule inet kcm input tcp {what} drop\n")
    nfts.append("kcm")


def syn(n):
    """Raw SYNs from addresses that do not answer."""
    drop(f"sport {PORT}")
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for i in range(n):
        source, target = bytes([127, 9, i >> 8, i & 255]), bytes([127, 0, 0, 1])
        tcp = struct.pack("!HHIIBBHHH", 20000 + i, PORT, 1, 0, 5 << 4, 2, 65535, 0, 0)
        data = source + target + struct.pack("!BBH", 0, 6, len(tcp)) + tcp
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        tcp = tcp[:16] + struct.pack("!H", ~total & 0xffff) + tcp[18:]
        raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target) + tcp,
                   ("127.0.0.1", 0))
    raw.close()


def serve():
    """Who is not served within three seconds is lost."""
    while nfts:
        nft(f"delete table inet {nfts.pop()}\n")
    got, accepted = set(), []
    for i, client in enumerate(clients):
        client.setblocking(False)
        try:
            client.send(b"%d" % i)
        except OSError:
            pass
    end = time.monotonic() + 3
    while time.monotonic() < end and len(got) < len(clients):
        wait = list(listeners.values()) + accepted + [c for c in clients if c not in got]
        for sock in select.select(wait, [], [], 0.1)[0]:
            try:
                if sock in listeners.values():
                    accepted.append(sock.accept()[0])
                    accepted[-1].setblocking(False)
                elif sock in accepted:
                    data = sock.recv(100)
                    sock.send(data) if data else accepted.remove(sock)
                else:
                    data = sock.recv(100)
                    if data == b"%d" % clients.index(sock):
                        got.add(sock)
                    elif not data:
                        clients[clients.index(sock)] = socket.socket()
            except OSError:
                if sock in accepted:
                    accepted.remove(sock)
                elif sock in clients:
                    clients[clients.index(sock)] = socket.socket()
    for sock in accepted:
        sock.close()
    return {"clients": len(clients), "served": len(got)}


def forget():
    for client in clients:
        client.close()
    clients.clear()


for line in sys.stdin:
    verb, *words = line.split()
    answer = {}
    try:
        if verb == "open":
            open_listener(words[0], words[1:])
        elif verb == "close":
            listeners.pop(words[0]).close()
        elif verb in ("connect", "half"):
            if verb == "half":
                drop(f"dport {PORT} tcp flags & (syn | ack | psh | rst | fin) == ack")
            connect(int(words[0]), "md5" in words)
        elif verb == "syn":
            syn(int(words[0]))
        elif verb == "serve":
            answer = serve()
        elif verb == "forget":
            forget()
    except OSError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
