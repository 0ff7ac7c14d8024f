"""Where the commands of faults.py run: a namespace, a cgroup, a server, and how they are run there."""
import ctypes
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from faults_verbs import PORT, UDP_PORT

PINS, RUN = "/sys/fs/bpf/kcm", "/run/kcm"
# A verifier that is not told of types, as a probe of libbpf failed, takes very long.
PATIENCE_S = 900
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
FD_BY_ID = {"prog": 13, "map": 14, "link": 30}
libc = ctypes.CDLL(None, use_errno=True)


def lives(kind, number):
    """Is there a BPF object of that id?"""
    attr = (ctypes.c_uint32 * 4)(number)
    fd = libc.syscall(SYS_BPF, FD_BY_ID[kind], ctypes.byref(attr), 16)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def tree(top):
    found = []
    for path, dirs, files in os.walk(top):
        found += [os.path.join(path, n) for n in dirs + files]
    return sorted(found)


class Done:
    """What became of a command."""

    def __init__(self, status, out, err, hit=None, counts=None, made=()):
        self.status, self.out, self.err = status, out, err
        self.hit, self.counts, self.made = hit, counts or {}, made


class World:
    def __init__(self):
        self.build = os.environ["BUILD"]
        self.tool = os.environ["KCMTOOL"]
        self.work = tempfile.mkdtemp(prefix="kcm-faults.")
        root = next(w[4] for w in map(str.split, open("/proc/self/mountinfo", encoding="ascii"))
                    if "cgroup2" in w)
        self.cgroup = f"{root}/kcm_faults_{os.environ.get('KCM_TEST_RUN', '0-0')}_{os.getpid()}"
        self.netns = f"kcm-faults-{os.getpid()}"
        os.mkdir(self.cgroup)
        self.sh("ip", "netns", "add", self.netns)
        fd = os.open(f"/run/netns/{self.netns}", os.O_RDONLY)
        if libc.setns(fd, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)
        self.sh("ip", "link", "set", "lo", "up")
        self.sh("ip", "link", "add", "fl0", "type", "veth", "peer", "name", "fl1")
        self.sh("ip", "link", "set", "fl0", "up")
        self.sh("ip", "link", "set", "fl1", "up")
        self.server = self.serve()
        self.newer = self.serve_newer()
        self.made = {}  # BPF objects: by what they were made
        self.tracers = []

    def end(self):
        self.server.close()
        self.newer.communicate()
        for t in self.tracers:
            t.wait(PATIENCE_S)
        self.sh("ip", "netns", "del", self.netns)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                os.rmdir(self.cgroup)
                break
            except OSError:
                time.sleep(0.05)
        self.sh("rm", "-rf", self.work)

    @staticmethod
    def sh(*words):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    # ---- a server in the cgroup, with a listener, a UDP socket and a connection ----

    def serve(self):
        ours, its = socket.socketpair()
        if os.fork():
            its.close()
            ours.recv(8)
            return ours
        ours.close()
        with open(f"{self.cgroup}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(os.getpid()))
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        for s, port in ((tcp, PORT), (udp, UDP_PORT)):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.bind(("127.0.0.1", port))
        tcp.listen()
        client = socket.create_connection(("127.0.0.1", PORT))
        served = tcp.accept()[0]
        while its.send(str(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)).encode()):
            if not its.recv(8):
                break
        del client, served
        os._exit(0)

    def serve_newer(self):
        """A generation of the server that is newer: another process that listens on its port."""
        code = f"""import socket, sys
with open("{self.cgroup}/cgroup.procs", "w", encoding="ascii") as f:
    f.write("0")
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", {PORT}))
s.listen()
print("listens", flush=True)
sys.stdin.read()
"""
        newer = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        newer.stdout.readline()
        return newer

    def ask(self, what):
        self.server.send(what.encode()[:8])
        return self.server.recv(64)

    # ---- commands ----

    def run(self, words):
        if words == ["@old"]:
            words = [f"{self.build}/tests/pin_helper", "make", "0"]
        elif words == ["@unshow"]:
            words = ["rm", f"{PINS}/sock/default/show"]
        else:
            words = [self.tool, *words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S,
                              stdin=subprocess.DEVNULL)
        return Done(done.returncode, done.stdout, done.stderr)

    def traced(self, words, mode="count", which="-", n=0, errno=0):
        """Run with a fault; see faults_trace.c."""
        report = f"{self.work}/report"
        out, err = open(f"{self.work}/out", "w+b"), open(f"{self.work}/err", "w+b")
        if os.path.exists(report):
            os.unlink(report)
        tracer = subprocess.Popen(
            [f"{self.build}/tests/faults_trace", report, f"{self.build}/tests/faults_alloc.so", mode,
             which, str(n), str(errno), self.tool, *words],
            stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        until, lines = time.monotonic() + PATIENCE_S, []
        while not (lines and re.match("(exit|signal) ", lines[-1])):
            if time.monotonic() > until or tracer.poll() == 99:
                tracer.kill()
                tracer.wait()
                return Done("hangs", "", self.text(err))
            time.sleep(0.002)
            if os.path.exists(report):
                with open(report, encoding="ascii") as f:
                    lines = f.read().splitlines()
        self.tracers = [t for t in self.tracers + [tracer] if t.poll() is None]
        pairs = [line.split() for line in lines]
        made = [(k, int(v)) for k, v in pairs if k in FD_BY_ID]
        for m in made:
            self.made[m] = f"{' '.join(words)}, {mode} {which} {n}"
        counts = {k: int(v) for k, v in pairs if k not in FD_BY_ID and k != "hit"}
        status = -counts.pop("signal") if "signal" in counts else counts.pop("exit")
        hit = next((v for k, v in pairs if k == "hit"), None)
        return Done(status, self.text(out), self.text(err), hit, counts, made)

    @staticmethod
    def text(f):
        f.seek(0)
        text = f.read().decode(errors="replace")
        f.close()
        return text

    @staticmethod
    def run_script(text, around):
        done = subprocess.run([*around, text], capture_output=True, text=True, timeout=PATIENCE_S,
                              stdin=subprocess.DEVNULL)
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, words):
        done = self.run(words)
        if done.status:
            sys.exit(f"{' '.join(words)}: status {done.status}: {done.err}")
        return done

    # ---- what is there ----

    def pins(self):
        return tree(PINS) + tree(RUN)

    def leftovers(self):
        """BPF objects that were made under our eyes and are still there. The kernel takes its time."""
        until = time.monotonic() + PATIENCE_S
        while True:
            left = [(k, n) for k, n in self.made if lives(k, n)]
            if not left or time.monotonic() > until:
                break
            time.sleep(0.1)
        return [f"{k} {n}, made by {self.made[k, n]}" for k, n in left]
