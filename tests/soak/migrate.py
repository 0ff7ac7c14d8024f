"""migrate: restarts.bash does it; here is read what it says."""
import json
import os
import subprocess
import time

from host import ADDRESS, CGROUP, CLIENT, DIR, ROOT, SERVER

STOP = os.path.join(DIR, "stop")
process = None


def begin(soak):
    global process
    out = open(os.path.join(DIR, "restarts.json"), "w")
    err = open(os.path.join(DIR, "restarts.err"), "w")
    process = subprocess.Popen(
        soak.command([f"{ROOT}/tests/soak/restarts.bash", SERVER, CLIENT, ADDRESS]),
        stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
    soak.roles["migrate.server"] = servers
    soak.roles["migrate.keep"] = lambda: keepers(soak)
    soak.until("migrate is attached", lambda: process.poll() is not None or
               (soak.kcm("migrate", "show", quiet=True) or {}).get("instances"))


def servers():
    with open(os.path.join(CGROUP, "restarts/cgroup.procs")) as f:
        return [int(p) for p in f.read().split()]


def keepers(soak):
    shown = soak.kcm("migrate", "show", "kcmtest", quiet=True) or {}
    return [shown["anchor_pid"]] if shown.get("anchor_pid") else []


def follow(soak):
    """Count what the restarts and their load say, as they say it."""
    with open(os.path.join(DIR, "restarts.json")) as f:
        line = ""
        while True:
            line += f.readline()
            if not line.endswith("\n"):
                if process.poll() is not None:
                    break
                if soak.stop.is_set():
                    open(STOP, "w").close() # it ends its round, of which we want to hear
                time.sleep(0.2)
                continue
            event(soak, json.loads(line))
            line = ""
    if process.returncode:
        soak.fail("migrate", f"restarts.bash ended with {process.returncode}: {errors()}")


def errors():
    with open(os.path.join(DIR, "restarts.err")) as f:
        return f.read()[-1500:]


def event(soak, e):
    if e["event"] == "restart":
        soak.add("migrate.restarts." + e["what"])
        soak.add("migrate.restarts")
    elif e["event"] == "round":
        soak.say(f"migrate {e}")
        soak.add("migrate.connections", e["total"])
        soak.add("migrate.ok", e["ok"])
        if e["killed"]:
            soak.excuse("migrate: a killed process had accepted the connection", e["killed"])
        if e["raced"]:
            soak.excuse("migrate: lost within the kernel's close(), proven of each", e["raced"])
        if e["lost"]:
            soak.fail("migrate", f"{e['lost']} of {e['total']} connections are lost: {e['ends']}")
    elif e["event"] in ("lost", "error"):
        soak.fail("migrate", f"{e['what']}\n{errors()}")


def end(soak):
    open(STOP, "w").close()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        soak.fail("hang", f"restarts.bash does not end: {errors()}")
        os.killpg(process.pid, 9)
        process.wait()


PARTS = (follow,)
