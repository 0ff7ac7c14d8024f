#!/usr/bin/env python3
"""All systems at once on one server for some minutes; see README.md. Started by tests/soak/run.

usage: soak.py MINUTES      environment: those of tests/soak/run, SOAK_WITHOUT="SYSTEM..."
Exit status 1: something was lost, torn, doubled, has grown, hung, or is left over.
"""
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback

import flow
import host
import migrate
import mux
import report
import rx
import sock
import watch

SYSTEMS = {"sock": sock, "flow": flow, "mux": mux, "rx": rx, "migrate": migrate}
LOSS_PER_MILLE = 10
LOOKS = (("sock", ("sock", "show")), ("sock", ("sock", "top", "--batch", "--count", "1")),
         ("sock", ("sock", "snapshot")), ("flow", ("flow", "list", "fl0", "--limit", "50")),
         ("flow", ("flow", "show", "fl0")), ("migrate", ("migrate", "show", "kcmtest", "-l")),
         ("mux", ("mux", "conns", "soak-all")), ("mux", ("mux", "show", "soak-once")),
         ("rx", ("rx", "show")), (None, ("status",)))


def looks(soak):
    """What an operator does all day."""
    while soak.pause(random.uniform(1, 3)):
        system, words = random.choice(LOOKS)
        if system in soak.systems or not system:
            soak.kcm(*words)


def lossy(soak):
    """Packets are lost for a while, and then they are not."""
    while True:
        host.loss(LOSS_PER_MILLE)
        if not soak.pause(20):
            break
        soak.add("loss.packets", host.tcp_dropped() - soak.counts.get("loss.packets", 0))
        host.loss(0)
        if not soak.pause(10):
            break
    soak.add("loss.packets", host.tcp_dropped() - soak.counts.get("loss.packets", 0))


def guarded(soak, part):
    try:
        part(soak)
    except Exception:
        if not soak.stop.is_set():
            soak.fail("soak", f"{part.__module__}.{part.__name__}: {traceback.format_exc()}")
            soak.stop.set()


def kernel_log():
    out = subprocess.run(["dmesg"], capture_output=True, text=True).stdout
    return [l for l in out.splitlines() if any(w in l for w in (
        "WARNING:", "BUG:", "Oops", "general protection", "refcount_t", "blocked for more than"))]


def cpu_s():
    with open(os.path.join(host.CGROUP, "cpu.stat")) as f:
        return int(f.readline().split()[1]) / 1e6


def soak_for(soak, samples):
    interval = max(1, min(10, soak.seconds / 40))
    end = time.monotonic() + soak.seconds
    said = time.monotonic()
    while time.monotonic() < end:
        if not soak.pause(min(interval, max(0.1, end - time.monotonic()))):
            break
        soak.alive()
        samples.append(watch.sample(soak))
        if time.monotonic() - said >= 60:
            said = time.monotonic()
            print(report.line(soak), flush=True)


def run(soak):
    samples, threads = [], []
    before = kernel_log()
    host.nets_begin()
    began = []
    try:
        for name in soak.systems:
            began.append(name)
            SYSTEMS[name].begin(soak)
        parts = [p for name in soak.systems for p in SYSTEMS[name].PARTS] + [looks, lossy]
        start, cpu = time.monotonic(), cpu_s()
        for part in parts:
            threads.append(threading.Thread(
                target=guarded, args=(soak, part), name=f"{part.__module__}.{part.__name__}"))
            threads[-1].start()
        soak_for(soak, samples)
        soak.cores = (cpu_s() - cpu) / (time.monotonic() - start)
        soak.lasted = time.monotonic() - start
    except host.CannotBegin as e:
        soak.fail("begin", str(e))
    finally:
        soak.finish(threads)
        for name in reversed(began):
            guarded_end(soak, name)
        soak.end_children()
        host.nets_end()
    for line in kernel_log():
        if line not in before:
            soak.fail("kernel", line)
    return samples


def guarded_end(soak, name):
    try:
        SYSTEMS[name].end(soak)
    except Exception:
        soak.fail("soak", f"{name}.end: {traceback.format_exc()}")


def main():
    minutes = float(sys.argv[1])
    soak = host.Soak(minutes * 60)
    without = os.environ.get("SOAK_WITHOUT", "").split()
    soak.systems = [s for s in SYSTEMS if s not in without]
    soak.without = without
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: soak.interrupt())
    print(f"soak: {', '.join(soak.systems)}, {minutes:g} minutes; {host.BUILD}/soak/soak.log", flush=True)
    samples = run(soak)
    return report.write(soak, samples)


if __name__ == "__main__":
    sys.exit(main())
