"""sock: what it says of connections is what they have done, to the byte and the message; labels and
limits come and go. All other traffic of the soak is followed too."""
import json
import random
import socket
import subprocess

from flow import inside
from host import ADDRESS, BUILD, CGROUP, CLIENT, DIR, ROOT, SERVER

TAGGED = 7002


def begin(soak):
    soak.must("sock", "load", "cgroup", CGROUP)
    for port in (7000, 7001):
        soak.kcm("sock", "frame", port, "u32be")
    soak.spawn("sock.tagged", [f"{BUILD}/examples/tagged_server", f"{ADDRESS}:{TAGGED}"], SERVER)
    peer = soak.spawn("sock.peer", ["python3", f"{ROOT}/tests/e2e/sock_load_peer.py"], SERVER,
                      stdin=subprocess.PIPE)
    soak.peer, soak.peer_said = peer, open(f"{DIR}/sock.peer.out")
    soak.peer_port = int(answer(soak, "its port"))
    soak.kcm("sock", "frame", soak.peer_port, "u32be")


def answer(soak, to):
    """The peer's next line: it says them into a file. None: the soak ends, or it has hung."""
    line = ""

    def whole():
        nonlocal line
        line += soak.peer_said.readline()
        return line.endswith("\n")
    return line if soak.until(f"sock's peer: {to}", whole) else None


def say(soak, words):
    soak.peer.stdin.write((words + "\n").encode())
    soak.peer.stdin.flush()
    return answer(soak, words)


def agrees(soak, totals):
    """Both ends of each connection, as what they have sent and received themselves."""
    shown = soak.kcm("sock", "show", "port", soak.peer_port)
    for t in totals:
        ends = [s for s in (shown or {"sockets": []})["sockets"] if s["state"] == "established"
                and t["port"] in (s["lport"], s["rport"])]
        want = {k: t[k[3:]] for k in ("rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs")}
        if len(ends) != 2 or any(e[k] != n for e in ends for k, n in want.items()):
            return {"want": want, "shown": [{k: e[k] for k in (*want, "unframed", "lport", "slot")}
                                            for e in ends]}
    return None


def exact(soak):
    while soak.pause(random.uniform(2, 4)):
        n = random.randrange(2, 12)
        if not (say(soak, f"open {n}") and say(soak, f"send {random.randrange(5, 40)}")):
            return
        totals = say(soak, "totals")
        if not totals:
            return
        totals = json.loads(totals)
        wrong = agrees(soak, totals)
        if wrong:
            soak.fail("sock", f"counters differ from what was sent: {wrong}")
        soak.add("sock.connections", n)
        soak.add("sock.messages_compared", sum(4 * t["msgs"] for t in totals))
        say(soak, "close")


def labels(soak):
    """A client of the server that labels its connections; under a limit that comes and goes."""
    while soak.pause(random.uniform(0.5, 2)):
        who = f"t{random.randrange(1 << 30)}"
        with inside(CLIENT), socket.create_connection((ADDRESS, TAGGED), timeout=60) as s:
            f = s.makefile("rwb")

            def ask(line, f=f):
                f.write(line)
                f.flush()
                return f.readline()
            if ask(b"hello " + who.encode() + b"\n") != b"hello " + who.encode() + b"\n":
                soak.fail("sock", f"tagged_server did not answer {who}")
            limited = random.random() < 0.5 and soak.kcm(
                "sock", "limit", "label", f"tenant={who}", "rate=2MB/s")
            for _ in range(50):
                line = random.randbytes(random.randrange(200)).hex().encode() + b"\n"
                if ask(line) != line:
                    soak.fail("sock", "tagged_server: another line came back")
                soak.add("sock.lines")
            stats = ask(b"stats\n").decode()
            if f"tenant={who}" not in stats or "service=echo" not in stats:
                soak.fail("sock", f"labels that the server has set are not there: {stats}")
            rows = (soak.kcm("sock", "show", "label", f"tenant={who}") or {"sockets": []})["sockets"]
            if len(rows) != 1 or rows[0]["labels"].get("service") != "echo":
                soak.fail("sock", f"label tenant={who}: {len(rows)} sockets")
            elif limited and (rows[0]["limit"] or {}).get("rate_bytes") != 2000000:
                soak.fail("sock", f"limit of tenant={who}: {rows[0]['limit']}")
            if limited:
                soak.kcm("sock", "limit", "del", "label", f"tenant={who}")
                soak.add("sock.limits")
        soak.add("sock.connections")


def end(soak):
    left = soak.kcm("sock", "limit", "list")
    if left and left["rules"]:
        soak.fail("sock", f"rules that were deleted are there: {left['rules']}")
    soak.kcm("sock", "unload")


PARTS = (exact, labels)
