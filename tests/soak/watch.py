"""What may not grow: memory and descriptors of processes, what is pinned, maps, programs, sockets."""
import ctypes
import os
import re
import statistics
import struct
import time

from host import CGROUP, CLIENT, SERVER

# bpf(2)
OBJ_GET, PROG_NEXT, MAP_NEXT, PROG_FD, MAP_FD, INFO, LINK_FD, LINK_NEXT = 7, 11, 12, 13, 14, 15, 30, 31
SYS_BPF = 321 if os.uname().machine == "x86_64" else 280
libc = ctypes.CDLL(None, use_errno=True)

KIB = 1024
# Of a metric, by the end of its name: growth of the median, relative and absolute, that is allowed
# between the second quarter and the last one. What comes and goes with load has some room; what is
# pinned or loaded has none. TIME_WAIT is a minute's worth of connections, the more the faster the
# machine is just then: shown, and not judged.
BOUNDS = (
    (".rss", 0.05, 1024 * KIB),
    # The others have no descriptor a connection that comes and goes.
    ("keep.fds", 0, 2), ("objects.fds", 0, 2), (".fds", 0.10, 16),
    ("bpf.bytes", 0.01, 64 * KIB),
    ("bpf.maps", 0, 0), ("bpf.programs", 0, 0), ("bpf.links", 0, 0), ("bpf.pins", 0, 0),
    ("processes", 0.10, 3),
    (".tcp_inuse", 0.10, 32), (".udp_inuse", 0, 2),
    ("sock.slots_used", 0.10, 64),
)


def bpf(command, attr):
    buf = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    r = libc.syscall(SYS_BPF, command, buf, 128)
    return r, buf.raw


def fdinfo(fd, pid="self"):
    with open(f"/proc/{pid}/fdinfo/{fd}") as f:
        return dict(line.split(":", 1) for line in f.read().splitlines() if ":" in line)


class Objects:
    """All BPF objects that pins and descriptors of our processes lead to, each once."""

    def __init__(self):
        self.maps, self.programs, self.links, self.pins = {}, {}, set(), 0

    def visit(self, info, fd=None):
        if "link_id" in info:
            self.links.add(int(info["link_id"]))
            if "prog_id" in info:
                self.program(int(info["prog_id"]))
        elif "map_id" in info:
            self.maps[int(info["map_id"])] = int(info["memlock"])
        elif "prog_id" in info:
            self.program(int(info["prog_id"]), int(info["memlock"]), fd)

    def program(self, id_, bytes_=None, fd=None):
        if id_ in self.programs:
            return
        own, _ = bpf(PROG_FD, struct.pack("I", id_))
        if own < 0:
            return
        try:
            self.programs[id_] = bytes_ or int(fdinfo(own)["memlock"])
            for m in self.maps_of(own):
                if m not in self.maps:
                    mfd, _ = bpf(MAP_FD, struct.pack("I", m))
                    if mfd >= 0:
                        self.maps[m] = int(fdinfo(mfd)["memlock"])
                        os.close(mfd)
        finally:
            os.close(own)

    @staticmethod
    def maps_of(fd):
        ids = (ctypes.c_uint32 * 64)()
        # nr_map_ids, map_ids of struct bpf_prog_info
        info = ctypes.create_string_buffer(struct.pack("52xIQ", 64, ctypes.addressof(ids)), 232)
        r, _ = bpf(INFO, struct.pack("IIQ", fd, 232, ctypes.addressof(info)))
        n = struct.unpack_from("I", info.raw, 52)[0] if r == 0 else 0
        return ids[:min(n, 64)]

    def all_pins(self, top="/sys/fs/bpf"):
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                if name.endswith(".debug") or os.path.islink(path):
                    continue
                self.pins += 1
                buf = ctypes.create_string_buffer(path.encode())
                fd, _ = bpf(OBJ_GET, struct.pack("Q", ctypes.addressof(buf)))
                if fd >= 0:
                    self.visit(fdinfo(fd))
                    os.close(fd)

    def of_process(self, pid):
        """Return: number of its descriptors."""
        fds = os.listdir(f"/proc/{pid}/fd")
        for fd in fds:
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("anon_inode:bpf"):
                    self.visit(fdinfo(fd, pid))
            except (OSError, KeyError):
                pass  # closed meanwhile
        return len(fds)


def rss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        # What it has for itself: memory of a mux is of all its workers.
        return sum(int(n) * KIB for n in re.findall(r"^Private_\w+: +(\d+)", f.read(), re.M))


def sockstat(ns):
    import subprocess
    out = subprocess.run(["nsenter", f"--net=/run/netns/{ns}", "cat", "/proc/net/sockstat"],
                         capture_output=True, text=True).stdout
    tcp = re.search(r"TCP: inuse (\d+) orphan \d+ tw (\d+)", out)
    udp = re.search(r"UDP: inuse (\d+)", out)
    return {"tcp_inuse": int(tcp[1]), "tcp_tw": int(tcp[2]), "udp_inuse": int(udp[1])}


def machine(metrics):
    """Of the whole machine, others' too: told, not judged."""
    for name, command in (("programs", PROG_NEXT), ("maps", MAP_NEXT), ("links", LINK_NEXT)):
        n = at = 0
        while True:
            r, raw = bpf(command, struct.pack("I", at))
            if r < 0:
                break
            at = struct.unpack_from("I", raw, 4)[0]
            n += 1
        metrics["machine." + name] = n
    with open("/proc/meminfo") as f:
        info = dict(line.split(":") for line in f)
    for name in ("Slab", "SUnreclaim", "Percpu", "VmallocUsed"):
        metrics["machine." + name] = int(info[name].split()[0]) * KIB
    with open("/proc/slabinfo") as f:
        for line in f:
            w = line.split()
            if w[0] in ("TCP", "request_sock_TCP", "tw_sock_TCP", "UDP"):
                metrics["machine.slab_" + w[0]] = int(w[1])


def our_pids():
    for folder, _, _ in os.walk(CGROUP):
        with open(os.path.join(folder, "cgroup.procs")) as f:
            yield from map(int, f)


def sample(soak):
    m = {}
    objects = Objects()
    objects.all_pins()
    fds = {}
    pids = list(our_pids()) + [os.getpid()]
    for pid in pids:
        try:
            fds[pid] = objects.of_process(pid)
        except OSError:
            pass
    for role, find in soak.roles.items():
        # Of those that are restarted all the time: what one of them has.
        seen = []
        for pid in find():
            try:
                seen.append((rss(pid), fds[pid]))
            except (OSError, KeyError):
                pass
        if seen:
            m[role + ".rss"] = int(statistics.median(s[0] for s in seen))
            m[role + ".fds"] = int(statistics.median(s[1] for s in seen))
    m["processes"] = len(pids)
    m["bpf.pins"], m["bpf.links"] = objects.pins, len(objects.links)
    m["bpf.maps"], m["bpf.programs"] = len(objects.maps), len(objects.programs)
    m["bpf.bytes"] = sum(objects.maps.values()) + sum(objects.programs.values())
    for name, ns in (("server", SERVER), ("client", CLIENT)):
        for what, n in sockstat(ns).items():
            m[f"{name}.{what}"] = n
    if "sock" in soak.systems:
        stats = soak.kcm("sock", "stats")
        if stats:
            m["sock.slots_used"] = stats["slots_used"]
    machine(m)
    m["t"] = time.monotonic()
    return m


def judge(samples):
    """Each metric's medians of the second and of the last quarter, and whether it has grown."""
    n = len(samples)
    second, last = samples[n // 4:n // 2], samples[n - n // 4:]
    rows = []
    for name in sorted({k for s in samples for k in s} - {"t"}):
        a, b = ([s[name] for s in part if name in s] for part in (second, last))
        if not a or not b:
            continue
        a, b = statistics.median(a), statistics.median(b)
        bound = next(((rel, most) for end, rel, most in BOUNDS if name.endswith(end)), None)
        row = {"name": name, "second_quarter": a, "last_quarter": b, "growth": b - a,
               "least": min(s[name] for s in samples if name in s),
               "most": max(s[name] for s in samples if name in s), "allowed": None, "ok": True}
        if bound and not name.startswith("machine."):
            row["allowed"] = int(a * bound[0] + bound[1])
            row["ok"] = b - a <= row["allowed"]
        rows.append(row)
    return rows
