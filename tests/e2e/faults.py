#!/usr/bin/env python3
"""Commands of kcmtool whose system calls and allocations fail, or that are killed at one.

usage: faults.py SYSTEM [VERB]...    calls and allocations fail, kills
       faults.py --host SYSTEM       what the machine lacks: bpffs, memory, capabilities ...
       faults.py --table             every command is in the table
environment: BUILD KCMTOOL; KCM_FAULTS=all: every one, not a sample; KCM_SEED

A command that fails exits with a documented code and one line that says what, why and what to do,
and what was there before is there as it was. After one that was killed the next command works.
Nothing is left over: pins, files in /run/kcm, processes, BPF objects of any id.
"""
import difflib
import errno
import json
import os
import random
import re
import sys
import time

import faults_host
from faults_verbs import forgotten, show, verbs
from faults_world import World

KINDS = [("fail", "bpf", errno.ENOMEM), ("fail", "open", errno.EMFILE), ("fail", "mmap", errno.ENOMEM),
         ("fail", "other", errno.ENOMEM), ("fail", "alloc", 0), ("kill", "kill", 0)]
CODES = (0, 1, 3, 4, 6, 7)
EVERY = os.environ.get("KCM_FAULTS") == "all"
OTHER_KINDS, HOSTS = 0, 1  # of a sample: beside the first kind


def unclear(err, status):
    """What is wrong with what was said, if it is an error."""
    lines = err.split("last messages of libbpf")[0].splitlines()
    lines = [line for line in lines if not line.startswith("kcmtool: warning: ")]
    if len(lines) != 1 or not lines[0].startswith("kcmtool: "):
        return f"not one line but {len(lines)}"
    if "; try: " not in lines[0]:
        return "not said what to do"
    if status != 7 and not re.search(r"\(.+\)", lines[0]):
        return "not said why"
    return None


class Faults:
    codes, unclear = CODES, staticmethod(unclear)

    def __init__(self, world, chance):
        self.w, self.chance, self.problems = world, chance, []

    def state(self, verb):
        seen = [self.w.pins(), show(self.w.run, verb.shown) if verb.shown else None]
        return seen + [self.w.ask(verb.extra) if verb.extra else None]

    def problem(self, verb, what, why, done=None, more=""):
        text = f"{verb.name}, {what}: {why}{more}"
        if done:
            text += f" (status {done.status}, at {done.hit}): {done.err.strip()[:600]}"
        self.problems.append(text)
        print("# " + text.replace("\n", "\n#   "), flush=True)

    @staticmethod
    def slack(state):
        """Without what a command could not clean up, and the next one does."""
        pins = [p for p in state[0] if "/stage+" not in p]
        return [[p for p in pins if p.count("/") > 5 or any(q.startswith(p + "/") for q in pins)],
                *state[1:]]

    @staticmethod
    def differs(a, b):
        a, b = (json.dumps([p, x, str(y)], indent=1).splitlines() for p, x, y in (a, b))
        return " " + " ".join(d for d in difflib.ndiff(a, b) if d[0] in "-+")

    def set_up(self, verb):
        for words in verb.setup:
            self.w.must(words)

    def some(self, things):
        return things if EVERY else self.chance.sample(things, HOSTS)

    def back(self, verb):
        for words in verb.back:
            self.w.must(words)

    def next_works(self, verb, what, again, after):
        done = self.w.run(verb.command)
        if done.status and done.status not in again:
            self.problem(verb, what, "the next one fails", done)
        now = self.state(verb)
        if now != after:
            self.problem(verb, what, "the next one does not do it all", None, self.differs(after, now))
        self.back(verb)

    def judge(self, verb, kind, what, done, before, after):
        now = self.state(verb)
        killed = kind[0] == "kill" and done.status == -9
        if done.status == "hangs" or (not killed and done.status not in CODES):
            self.problem(verb, what, "ends badly", done)
        elif done.status > 0:
            bad = unclear(done.err, done.status)
            if bad:
                self.problem(verb, what, bad, done)
            if self.slack(now) != self.slack(before):
                self.problem(verb, what, "leaves something", done, self.differs(before, now))
        elif done.status == 0 and self.slack(now) != self.slack(after):
            self.problem(verb, what, "says it is done", done, self.differs(after, now))
        # A set of policies that is as it was needs no command to show that.
        if now == after and verb.once:
            self.back(verb)
        elif killed or now != before or self.chance.random() < 0.1 or not EVERY:
            self.next_works(verb, what, verb.again if killed or done.status == 0 else (), after)
        now = self.state(verb)
        if now != before:
            self.problem(verb, what, "can't be taken back", done, self.differs(before, now))
            return False
        return True

    def places(self, counts):
        """(kind, N) of all faults, or of a few: the first and the last of one kind."""
        every = [(k, range(1, counts[k[1]] + 1)) for k in KINDS if counts[k[1]]]
        if EVERY:
            return [(k, n) for k, ns in every for n in ns]
        (kind, ns), *others = self.chance.sample(every, min(len(every), 1 + OTHER_KINDS))
        return [(kind, n) for n in sorted({1, len(ns)})] + [(k, self.chance.choice(n)) for k, n in others]

    def verb(self, verb):
        begin, tried, failed = time.monotonic(), 0, len(self.problems)
        self.set_up(verb)
        before = self.state(verb)
        whole = self.w.traced(verb.command)
        if whole.status:
            sys.exit(f"{verb.name}: status {whole.status}: {whole.err}")
        after = self.state(verb)
        self.back(verb)
        if not verb.back:  # it can be done any number of times
            before = after
        if self.state(verb) != before:
            self.problem(verb, "without faults", "can't be taken back", None,
                         self.differs(before, self.state(verb)))
        for kind, n in self.places(whole.counts):
            done = self.w.traced(verb.command, *kind[:2], n, kind[2])
            tried += 1
            if not self.judge(verb, kind, f"{kind[0]} {kind[1]} {n}", done, before, after):
                self.clean()
                self.set_up(verb)
        self.clean()
        for left in self.w.leftovers():
            self.problem(verb, "at the end", "stays: " + left)
        self.w.made.clear()
        if self.w.pins():
            self.problem(verb, "at the end", f"stays: {self.w.pins()}")
        print(f"{'not ' if len(self.problems) > failed else ''}ok - {verb.name}: {tried} faults, "
              f"{time.monotonic() - begin:.1f} s {whole.counts}", flush=True)

    def clean(self):
        """Whatever there may be."""
        for words in (["mux", "delete", "x", "--force"], ["migrate", "detach", "m"], ["rx", "untune", "r"],
                      ["flow", "unload", "fl0"], ["sock", "unload"], ["unload", "--force"]):
            if os.path.exists(f"/sys/fs/bpf/kcm/{words[0]}") or words[0] == "unload":
                self.w.run(words)


def main():
    w = World()
    seed = int(os.environ.get("KCM_SEED", 1))
    print(f"# KCM_SEED={seed}")
    try:
        table = verbs(w.cgroup, w.work)
        if sys.argv[1] == "--table":
            missing, n = forgotten(w.tool, table)
            print(f"{n} commands, not in the table: {missing}")
            return 1 if missing or n < 30 else 0
        host = sys.argv[1] == "--host"
        args = sys.argv[2:] if host else sys.argv[1:]
        f = Faults(w, random.Random(seed))
        for verb in table:
            if verb.partial and not EVERY:
                print(f"# {verb.name}: left out of a sample, {verb.partial}")
            elif verb.system == args[0] and (len(args) == 1 or verb.name in args[1:]):
                (faults_host.verb if host else Faults.verb)(f, verb)
        return 1 if f.problems else 0
    finally:
        w.end()


if __name__ == "__main__":
    sys.exit(main())
