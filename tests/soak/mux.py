"""mux: two of them with clients that check every byte; workers are killed and reloaded meanwhile.

  soak-all   at least once: no request may be left without an answer
  soak-once  at most once: one that a killed worker had is lost, and must have been counted by the mux
"""
import os
import random
import re
import signal
import time

from host import ADDRESS, BUILD, CLIENT, DIR, KCMTOOL, ROOT, SERVER

PORTS = {"soak-all": 7000, "soak-once": 7001}
WORKERS = 3
THINK_US = 5000  # of a worker of soak-once, what keeps the load down
ROUND_S = 6
DEPTH, CONNS = 8, 16


def begin(soak):
    with open(os.path.join(DIR, "tag"), "w") as f:
        f.write("A")
    programs = {
        "soak-all": (["at-least-once"], [f"{BUILD}/examples/rpc_worker"]),
        "soak-once": ([], [f"{BUILD}/tests/mux_cli_worker", "--tag", f"{DIR}/tag",
                           "--slow-us", str(THINK_US)]),
    }
    for name, (words, program) in programs.items():
        owner = soak.spawn("owner." + name, [
            KCMTOOL, "mux", "run", name, "listen", f"{ADDRESS}:{PORTS[name]}", "frame", "u32be",
            "workers", str(WORKERS), *words, "--", *program], SERVER)
        soak.until(f"mux {name} is there", lambda: len(workers(soak, name, True)) == WORKERS)
        soak.roles["worker." + name] = lambda pid=owner.pid: children(pid)
        # A mux keeps what it has made for a worker slot, and a reload needs as many again.
        reload(soak, name)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def workers(soak, name, quiet=False):
    all_ = soak.kcm("mux", "workers", name, quiet=quiet)
    return [w["pid"] for w in (all_ or {"workers": []})["workers"] if w["state"] == "on"]


def stats(soak, name):
    s = soak.kcm("mux", "stats", name)
    return (s["workers"]["lost"], s["transmit"]["aborts"], s["workers"]["deaths"]) if s else (0, 0, 0)


def reload(soak, name):
    """All workers are replaced by new ones."""
    gone = set(workers(soak, name))
    next(p for role, p in soak.children if role == "owner." + name).send_signal(signal.SIGHUP)
    await_new(soak, name, gone)
    soak.add("mux.reloads")


def await_new(soak, name, gone):
    start = time.monotonic()
    soak.until(f"mux {name} has new workers",
               lambda: len(now := workers(soak, name)) == WORKERS and not gone & set(now))
    soak.say(f"mux {name}: {gone} replaced in {time.monotonic() - start:.1f} s")


def kills(soak):
    """Workers die at random moments, or all of them are replaced; others must come."""
    while soak.pause(random.uniform(2, 8)):
        name = random.choice(list(PORTS))
        if random.random() < 0.2:
            reload(soak, name)
            continue
        alive = workers(soak, name)
        if alive:
            pid = random.choice(alive)
            os.kill(pid, signal.SIGKILL)
            soak.add("mux.kills")
            await_new(soak, name, {pid})


def rounds(soak):
    """At most once: python's client, messages of up to 90 KB, connections anew each round."""
    client = [f"{ROOT}/tests/e2e/mux_cli_client.py", ADDRESS, str(PORTS["soak-once"]), str(CONNS), "0",
              "--seconds", str(ROUND_S), "--lossy", "--patience", "20", "--depth", str(DEPTH),
              "--max", "90000"]
    before = stats(soak, "soak-once")
    while soak.pause(0.1):
        code, out, err = soak.run(["python3", *client], CLIENT)
        after = stats(soak, "soak-once")
        m = re.search(r"answered (\d+) tags \S* missing (\d+)", out)
        if code or not m:
            soak.fail("mux", f"soak-once: client ended with {code}: {err or out}")
            continue
        soak.add("mux.messages", int(m[1]))
        soak.add("mux.connections", CONNS)
        lost, aborts = after[0] - before[0], after[1] - before[1]
        # A worker that dies in the middle of an answer takes its connection with it.
        allowed = lost + aborts * DEPTH
        missing = int(m[2])
        if missing > allowed:
            soak.fail("mux", f"soak-once: {missing} requests without an answer, but killed workers "
                             f"had {lost}, and {aborts} connections ended in an answer")
        elif missing:
            soak.excuse("mux: a killed worker had the request (at most once)", missing)
        before = after


def rounds_all(soak):
    """At least once: all must be answered, the same answer twice is counted."""
    client = [f"{BUILD}/examples/client", "-c", "8", "-d", "6", "-t", str(ROUND_S), "-b", "2000",
              "-s", "40", "-r", f"{ADDRESS}:{PORTS['soak-all']}"]
    before = stats(soak, "soak-all")
    while soak.pause(0.1):
        code, out, err = soak.run(client, CLIENT)
        after = stats(soak, "soak-all")
        m = re.search(r"^(\d+) answers, all right; (\d+) repeated", out)
        if m and not code:
            soak.add("mux.messages", int(m[1]))
            soak.add("mux.connections", 8)
            if int(m[2]):
                soak.excuse("mux: answered again after a kill (at least once)", int(m[2]))
                if after[2] == before[2]:
                    soak.fail("mux", f"soak-all: {m[2]} answered twice, and nobody was killed")
        elif "connection closed" in err and after[1] > before[1]:
            soak.excuse("mux: a worker was killed in the middle of an answer: connection reset")
        else:
            soak.fail("mux", f"soak-all: client ended with {code}: {err or out}")
        before = after


def end(soak):
    """Both have had all there was: no message waits, none is in hand."""
    for name in PORTS:
        s = soak.kcm("mux", "stats", name)
        if not s:
            continue
        soak.add("mux.deaths", s["workers"]["deaths"])
        soak.add("mux.lost", s["workers"]["lost"])
        soak.add("mux.redelivered", s["workers"]["redelivered"])
        bad = {k: v for k, v in s["errors"].items() if v and k in
               ("bad_frames", "too_big", "timeouts", "resets", "unknown_skbs")}
        if bad:
            soak.fail("mux", f"{name}: {bad}")
        soak.until(f"{name} is empty", lambda: empty(soak, name), 60)
    # Those that had nothing in hand are no deaths to the mux.
    if soak.counts.get("mux.deaths", 0) > soak.counts.get("mux.kills", 0):
        soak.fail("mux", f"{soak.counts['mux.deaths']} workers died, more than were killed")


def empty(soak, name):
    s = soak.kcm("mux", "stats", name)
    return s and not (s["connections"]["now"] or s["receive"]["waiting"] or s["receive"]["in_hand"])


PARTS = (kills, rounds, rounds_all)
