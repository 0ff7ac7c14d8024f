"""What all parts of the soak share: namespaces, processes, commands, and what has been counted.

  $CLIENT  fl1 10.9.0.2, sources 10.66.0.0/16  ──veth──  fl0 10.9.0.1  $SERVER (judged by flow)
"""
import contextlib
import json
import os
import subprocess
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ["BUILD"]
KCMTOOL = os.environ["KCMTOOL"]
DIR = os.environ["SOAK_DIR"]
CGROUP = os.environ["SOAK_CGROUP"]
SERVER, CLIENT = f"kcm-soak-s{os.getpid()}", f"kcm-soak-c{os.getpid()}"
ADDRESS = "10.9.0.1"
WAIT_S = 180  # no measure of anything: what takes longer hangs


class CannotBegin(Exception):
    pass


class Soak:
    def __init__(self, seconds):
        self.seconds = seconds
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.counts, self.excused, self.violations = {}, {}, []
        self.roles = {}  # name -> function that returns pids
        self.children = []
        self.systems, self.without, self.interrupted = [], [], False
        self.cores = self.lasted = 0
        self.ending = False  # the parts have ended, their ends are checked
        self.log = open(os.path.join(BUILD, "soak/soak.log"), "w", buffering=1)

    # ---- counting ----
    def add(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n

    def excuse(self, what, n=1):
        """Lost, and it is known to whom: counted apart, by name."""
        with self.lock:
            self.excused[what] = self.excused.get(what, 0) + n

    def fail(self, kind, text):
        with self.lock:
            self.violations.append({"kind": kind, "at_s": round(time.monotonic() - START, 1),
                                    "what": text.strip()[-2000:]})
        self.say(f"VIOLATION {kind}: {text.strip()}")
        print(f"soak: {kind}: {text.strip()[:300]}", flush=True)

    def say(self, text):
        self.log.write(f"{time.monotonic() - START:8.1f} {text}\n")

    # ---- processes ----
    def command(self, args, ns=None, group="tools"):
        enter = ["nsenter", f"--net=/run/netns/{ns}"] if ns else []
        return ["bash", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"',
                os.path.join(CGROUP, group), *enter, *args]

    def spawn(self, role, args, ns=None, group="server", out=None, **more):
        """A process that lives as long as the soak. Its end is a violation, see alive()."""
        out = open(out or os.path.join(DIR, role + ".out"), "w")
        p = subprocess.Popen(self.command(args, ns, group), stdout=out, stderr=out,
                             start_new_session=True, **{"stdin": subprocess.DEVNULL, **more})
        out.close()
        self.children.append((role, p))
        self.roles[role] = lambda: [p.pid]
        return p

    def run(self, args, ns=None, group="client", timeout=WAIT_S):
        """Return: (exit status, stdout, stderr); None as status: it hung and was killed."""
        p = subprocess.Popen(self.command(args, ns, group), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                             start_new_session=True)
        try:
            out, err = p.communicate(timeout=timeout)
            return p.returncode, out, err
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, 9)
            out, err = p.communicate()
            return None, out, err

    def kcm(self, *words, quiet=False):
        """A command of the tool that must succeed, its JSON. None: it failed, and that is noted."""
        for _ in range(5):
            code, out, err = self.run([KCMTOOL, "-j", *map(str, words)], SERVER, "tools")
            self.add("tool.commands")
            # There is one lock for all, and it is given up waiting for after a while: try again.
            if code != 1 or "holds the lock" not in err:
                break
            self.excuse("tool: another command held the lock for too long, tried again")
        if code:
            if not quiet:
                self.fail("command", f"kcmtool {' '.join(map(str, words))}: {code}: {err or out}")
            return None
        try:
            return json.loads(out) if out.strip() else {}
        except json.JSONDecodeError as e:
            self.fail("command", f"kcmtool {' '.join(map(str, words))}: no JSON: {e}: {out[:300]}")
            return None

    def must(self, *words):
        """A command without which there is no soak."""
        if self.kcm(*words) is None:
            raise CannotBegin(f"kcmtool {' '.join(map(str, words))} failed; SOAK_WITHOUT={words[0]} "
                              f"leaves that system out, and says so")

    def until(self, what, condition, seconds=WAIT_S):
        end = time.monotonic() + seconds
        while not condition():
            if self.stop.is_set() and not self.ending:
                return False
            if time.monotonic() > end:
                self.fail("hang", f"{what}: not after {seconds} s")
                return False
            time.sleep(0.05)
        return True

    def pause(self, seconds):
        """Return: whether to go on."""
        return not self.stop.wait(seconds)

    def alive(self):
        for role, p in self.children:
            if p.poll() is not None and not self.stop.is_set():
                self.fail("death", f"{role} has ended with {p.returncode}: {said(role)}")
                self.stop.set()

    def interrupt(self):
        self.interrupted = True
        self.stop.set()

    def finish(self, threads):
        """The parts end by themselves; what they have begun is finished and checked."""
        self.stop.set()
        end = time.monotonic() + WAIT_S
        for t in threads:
            t.join(max(0.1, end - time.monotonic()))
            if t.is_alive():
                self.fail("hang", f"{t.name} does not end")
        self.ending = True

    def end_children(self):
        for role, p in reversed(self.children):
            p.terminate()
        for role, p in self.children:
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                self.fail("hang", f"{role} does not end by SIGTERM: {said(role)}")
                p.kill()
                p.wait()


START = time.monotonic()


def said(role):
    with contextlib.suppress(OSError), open(os.path.join(DIR, role + ".out")) as f:
        return f.read()[-1500:]
    return ""


def sh(text):
    subprocess.run(["bash", "-ec", text], check=True, stdin=subprocess.DEVNULL)


def nets_begin():
    sh(f"""
    ip netns add {SERVER}; ip netns add {CLIENT}
    ip -n {SERVER} link add fl0 mtu 9000 type veth peer name fl1 netns {CLIENT} mtu 9000
    for n in "{SERVER} fl0 10.9.0.1" "{CLIENT} fl1 10.9.0.2"; do
        set -- $n
        ip -n $1 link set lo up
        ip -n $1 addr add $3/24 dev $2
        ip -n $1 link set $2 up
        ip netns exec $1 sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192 \
            net.ipv4.ip_local_port_range="10000 65000"
    done
    ip -n {CLIENT} route add local 10.66.0.0/16 dev lo
    ip -n {SERVER} route add 10.66.0.0/16 via 10.9.0.2
    """)


def nets_end():
    for ns in (SERVER, CLIENT):
        if os.path.exists(f"/run/netns/{ns}"):
            sh(f"ip netns del {ns}")


def tcp_dropped():
    """Packets that the rules of loss() have dropped since they were made."""
    total = 0
    for ns in (SERVER, CLIENT):
        r = subprocess.run(["ip", "netns", "exec", ns, "nft", "-j", "list", "counters"],
                           capture_output=True, text=True)
        for o in json.loads(r.stdout or '{"nftables": []}')["nftables"]:
            total += o.get("counter", {}).get("packets", 0)
    return total


def loss(per_mille):
    """Drop so many TCP packets of a thousand, both ways and on loopback. A lost reset would leave its
    peer waiting for ever. By nft, as other tests do it: few kernels here have netem."""
    for ns in (SERVER, CLIENT):
        subprocess.run(["ip", "netns", "exec", ns, "nft", "-f", "-"], text=True, check=True, input=f"""
            table inet soak {{
                counter lost {{ }}
                chain in {{ type filter hook input priority 0; }}
            }}
            flush chain inet soak in
            table inet soak {{
                chain in {{
                    tcp flags & rst == 0 numgen random mod 1000 < {per_mille} counter name lost drop
                }}
            }}""")
