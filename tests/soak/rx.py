"""rx: large framed messages, mapped and copied. Objects with sums to a receiver that stays, streams of
which every byte is known to receivers that come and go."""
import json
import os
import random
import re
import subprocess

from host import ADDRESS, BUILD, CLIENT, DIR, SERVER

PORT = 7100
OUT = os.path.join(DIR, "rx.objects.out")


def begin(soak):
    soak.spawn("rx.objects", [f"{BUILD}/examples/object_recv", f"{ADDRESS}:{PORT}"], SERVER, out=OUT)
    soak.until("object_recv listens", lambda: "listening on" in text(), 60)
    soak.kcm("rx", "tune", "--port", PORT, "--name", "soak", "--cgroup", os.environ["SOAK_CGROUP"])


def text(at=0):
    with open(OUT) as f:
        f.seek(at)
        return f.read()


def objects(soak):
    at = len(text())
    while soak.pause(random.uniform(1, 3)):
        sizes = [random.randrange(1, 1 << random.randrange(1, 24)) for _ in range(5)]
        code, out, err = soak.run([f"{BUILD}/examples/object_send", f"{ADDRESS}:{PORT}",
                                   *map(str, sizes)], CLIENT)
        if code:
            soak.fail("rx", f"object_send {sizes}: {code}: {err or out}")
            continue
        # It says so when the connection has ended, which is before the sender's end; its output is
        # written by then too.
        want = [f"object {i}: {n} bytes, sum is right" for i, n in enumerate(sizes)]
        soak.until("object_recv has all", lambda: "system calls a message" in text(at), 60)
        said = text(at)
        got = re.findall(r"^object .*", said, re.M)
        if got != want:
            soak.fail("rx", f"sent {sizes}, received {got}")
        at += len(said)
        soak.add("rx.connections")
        soak.add("rx.objects", len(sizes))
        soak.add("rx.bytes", sum(sizes))
        m = re.search(r"^(\d+) messages, ([\d.]+)% of (\d+)", said, re.M)
        if m:
            soak.add("rx.messages", int(m[1]))
            soak.add("rx.mapped_bytes", int(float(m[2]) * int(m[3]) / 100))


def streams(soak):
    peer = f"{BUILD}/tests/rx_peer"
    while soak.pause(random.uniform(2, 4)):
        n, seed = 25, random.randrange(1 << 30)
        mode, how = random.choice(("auto", "map", "copy")), random.choice(
            ("plain", "cut", "pages", "ragged"))
        reader = subprocess.Popen(soak.command([peer, "recv", ADDRESS, "0", mode, str(n)], SERVER, "server"),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  stdin=subprocess.DEVNULL, start_new_session=True)
        port = reader.stdout.readline().split()[-1]
        # What XDP has seen lies in its own buffers, and is copied; over loopback it can be mapped.
        code, out, err = soak.run([peer, "send", ADDRESS, port, how, str(seed), str(n), "0", "900000"],
                                  random.choice((CLIENT, SERVER)))
        if code:
            reader.kill()
        said = reader.communicate()[0]
        row = re.search(r"^{.*}$", said, re.M)
        if code or reader.returncode or not row or json.loads(row[0])["messages"] != n:
            soak.fail("rx", f"rx_peer {mode} {how} seed {seed}: sender {code} {err or out}, "
                            f"receiver {reader.returncode} {said}")
            continue
        row = json.loads(row[0])
        soak.add("rx.connections")
        soak.add("rx.messages", n)
        soak.add("rx.bytes", row["bytes"])
        soak.add("rx.mapped_bytes", row["mapped"])


def end(soak):
    soak.kcm("rx", "untune", "soak")


PARTS = (objects, streams)
