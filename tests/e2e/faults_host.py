"""What the machine lacks, or the user may not: each command of faults.py under it."""
import shlex
import time

CAPS = "cap_bpf cap_net_admin cap_perfmon cap_sys_admin cap_sys_ptrace cap_dac_override".split()


def hosts():
    """Name, what goes before a script that is run so."""
    def mounts(script):
        return ["unshare", "--mount", "--propagation", "private", "bash", "-c", script + '\neval "$0"']

    bare = "while [[ $(stat -f -c %T /sys/fs/bpf) == bpf_fs ]]; do umount /sys/fs/bpf || exit 99; done"
    read_only = "mount -o remount,bind,ro {} || exit 99"
    return [("no bpffs", mounts(bare)),
            ("bpffs is read-only", mounts(read_only.format("/sys/fs/bpf"))),
            ("/run/kcm is read-only", mounts(read_only.format("/run/kcm"))),
            ("no locked memory", ["prlimit", "--memlock=0:0", "bash", "-c"]),
            ("few descriptors", ["prlimit", "--nofile=6:6", "bash", "-c"]),
            ] + [("without " + cap, ["capsh", "--drop=" + cap, "--", "-c"]) for cap in CAPS]


def script(tool, verb, name):
    """The command; and what takes it back where the pins are gone afterwards."""
    lines = [shlex.join([tool, *verb.command]), "status=$?", "((status == 0)) || exit $status"]
    for words in verb.back if name == "no bpffs" else []:
        # In the same place, and its words are not those that are judged.
        lines.append(f"{shlex.join([tool, *words])} >/dev/null || exit 98")
    return "\n".join(lines)


def verb(f, verb):
    begin, failed, tried = time.monotonic(), len(f.problems), 0
    if any(words[0].startswith("@") for words in verb.back):
        return
    f.set_up(verb)
    if not verb.back:
        f.w.must(verb.command)
    before = f.state(verb)
    for name, around in f.some(hosts()):
        tried += 1
        done = f.w.run_script(script(f.w.tool, verb, name), around)
        if done.status == 0 and name != "no bpffs":
            f.back(verb)
        now = f.state(verb)
        if done.status not in f.codes:
            f.problem(verb, name, "ends badly", done)
        elif done.status and f.unclear(done.err, done.status):
            f.problem(verb, name, f.unclear(done.err, done.status), done)
        if f.slack(now) != f.slack(before):
            f.problem(verb, name, "leaves something", done, f.differs(before, now))
        if now != before:
            f.clean()
            f.set_up(verb)
    f.clean()
    if f.w.pins():
        f.problem(verb, "at the end", f"stays: {f.w.pins()}")
    print(f"{'not ' if len(f.problems) > failed else ''}ok - {verb.name}: {tried} machines, "
          f"{time.monotonic() - begin:.1f} s", flush=True)
