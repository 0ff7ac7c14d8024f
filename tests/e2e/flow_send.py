#!/usr/bin/env python3
"""Send frames, made byte by byte, out of an interface.

usage: flow_send.py IFACE COUNT FRAME...
FRAME: hexadecimal, or one of the names below.
"""
import socket
import struct
import sys

MAC = bytes.fromhex("020000000001" "020000000002")


def checksum(data):
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def ip4(proto, payload, frag=0, src="10.9.0.2", dst="10.9.0.1", total=None):
    total = 20 + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 7, frag, 64, proto, 0,
                       socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(nh, payload, src="fd09::2", dst="fd09::1", length=None):
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", 6 << 28, length, nh, 64) + \
        socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload


def udp(sport, dport, n=8):
    return struct.pack("!HHHH", sport, dport, 8 + n, 0) + bytes(n)


def tcp(sport, dport, flags):
    return struct.pack("!HHIIBBHHH", sport, dport, 0, 0, 5 << 4, flags, 0, 0, 0)


def eth(proto, payload, *tags):
    frame = MAC
    for kind, vlan in tags:
        frame += struct.pack("!HH", kind, vlan)
    return (frame + struct.pack("!H", proto) + payload).ljust(60, b"\0")


HOP = bytes([60, 0, 1, 4, 0, 0, 0, 0])  # hop-by-hop, then destination options
DST = bytes([17, 0, 1, 4, 0, 0, 0, 0])  # destination options, then UDP
FRAMES = {
    "udp4": eth(0x0800, ip4(17, udp(1111, 7777))),
    "tcp4syn": eth(0x0800, ip4(6, tcp(1111, 7777, 2))),
    "tcp4synack": eth(0x0800, ip4(6, tcp(1111, 7777, 0x12))),
    "udp4vlan5": eth(0x0800, ip4(17, udp(1111, 7777)), (0x8100, 5)),
    "udp4qinq": eth(0x0800, ip4(17, udp(1111, 7777)), (0x88A8, 9), (0x8100, 5)),
    "frag4first": eth(0x0800, ip4(17, udp(1111, 7777, 16), 0x2000)),
    "frag4later": eth(0x0800, ip4(17, bytes(24), 3)),
    "udp6": eth(0x86DD, ip6(17, udp(1111, 7777))),
    "udp6ext": eth(0x86DD, ip6(0, HOP + DST + udp(1111, 7777))),
    "frag6first": eth(0x86DD, ip6(44, bytes([17, 0, 0, 1, 0, 0, 0, 9]) + udp(1111, 7777, 16))),
    "frag6later": eth(0x86DD, ip6(44, bytes([17, 0, 0, 24, 0, 0, 0, 9]) + bytes(24))),
    "frag6atomic": eth(0x86DD, ip6(44, bytes([17, 0, 0, 0, 0, 0, 0, 9]) + udp(1111, 7777))),
    "icmp4unreach": eth(0x0800, ip4(1, bytes([3, 1, 0, 0, 0, 0, 0, 0]) +
                                    ip4(17, udp(1, 2), src="10.9.0.1", dst="10.9.0.2"))),
    "arp": eth(0x0806, bytes(28)),
    "bad4length": eth(0x0800, ip4(17, udp(1111, 7777), total=2000)),
    "bad4short": eth(0x0800, ip4(17, b"\1\2\3\4")),
    "bad4ihl": eth(0x0800, b"\x43" + ip4(17, udp(1111, 7777))[1:]),
    "bad6length": eth(0x86DD, ip6(17, udp(1111, 7777), length=2000)),
    "bad6ext": eth(0x86DD, ip6(0, bytes([17, 200, 0, 0, 0, 0, 0, 0]))),
    "bad6many": eth(0x86DD, ip6(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 9 + DST + udp(1, 2))),
}


def main():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((sys.argv[1], 0))
    for name in sys.argv[3:]:
        frame = FRAMES[name] if name in FRAMES else bytes.fromhex(name)
        for _ in range(int(sys.argv[2])):
            s.send(frame)


main()
