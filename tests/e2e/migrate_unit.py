#!/usr/bin/env python3
"""What systemd is to a unit of Type=notify that stores descriptors, for migrate_unit.bats.

usage: migrate_unit.py SOCKET COMMAND...    SOCKET: a path, or @NAME

Reads commands, a line each, and answers each with a line of JSON, {"pid", "names", "ready", "ended"}:
  start        COMMAND, with what is stored; when it has said READY=1 or has ended
  alien        the same, with a pipe, a UDP socket and a listener of somebody else's, too
  other        the same, and LISTEN_PID is another process
  kill         SIGKILL, and it has ended      stop   SIGTERM, and it has ended
  wait         until it has ended by itself
  names        of the descriptors that are stored now
  drop         close them, as of a unit that has stopped for good
  quit         kill COMMAND, and end
"""
import array
import json
import os
import signal
import socket
import sys
import threading


class Unit:
    def __init__(self, path, command):
        self.command, self.pid, self.status = command, None, None
        self.path = path
        self.stored = []  # (name, descriptor)
        self.ready = threading.Event()
        self.heard = threading.Lock()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + path[1:] if path[0] == "@" else path)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            text, control, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(4 * 16))
            fds = array.array("i")
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
            said = dict(line.split("=", 1) for line in text.decode().splitlines())
            with self.heard:
                if said.get("FDSTORE") == "1":
                    self.stored += [(said.get("FDNAME", "stored"), fd) for fd in fds]
                elif said.get("FDSTOREREMOVE") == "1":
                    for name, fd in self.stored:
                        if name == said["FDNAME"]:
                            os.close(fd)
                    self.stored = [s for s in self.stored if s[0] != said["FDNAME"]]
                else:
                    for fd in fds:
                        os.close(fd)
            if said.get("READY") == "1":
                self.ready.set()

    def start(self, more=(), listen_pid=None):
        self.ready.clear()
        self.status = None
        with self.heard:
            fds = [fd for _, fd in self.stored] + list(more)
        self.pid = os.fork()
        if self.pid == 0:
            # Out of the way first: one may have a number that another is to have.
            high = [os.dup2(fd, 200 + i) for i, fd in enumerate(fds)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
                os.close(fd)
            os.closerange(3 + len(fds), 65536)
            os.environ["NOTIFY_SOCKET"] = self.path
            if fds:
                os.environ["LISTEN_FDS"] = str(len(fds))
                os.environ["LISTEN_PID"] = str(listen_pid or os.getpid())
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(2, 1)
            os.execvp(self.command[0], self.command)
        while not self.ready.wait(0.05):
            if self.ended(os.WNOHANG):
                break

    def ended(self, flags=0):
        if self.status is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def do(self, verb):
        if verb == "start":
            self.start()
        elif verb == "alien":
            ends = os.pipe()
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket()
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            self.start([ends[0], udp.fileno(), tcp.fileno()])
        elif verb == "other":
            self.start(listen_pid=1)
        elif verb in ("kill", "stop"):
            os.kill(self.pid, signal.SIGKILL if verb == "kill" else signal.SIGTERM)
            self.ended()
        elif verb == "wait":
            self.ended()
        elif verb == "drop":
            with self.heard:
                for _, fd in self.stored:
                    os.close(fd)
                self.stored = []
        elif verb != "names":
            return {"error": "no such command"}
        with self.heard:
            names = [name for name, _ in self.stored]
        return {"pid": self.pid, "names": names, "ready": self.ready.is_set(),
                "ended": self.status}


unit = Unit(sys.argv[1], sys.argv[2:])
print("{}", flush=True)
for line in sys.stdin:
    if line == "quit\n":
        break
    print(json.dumps(unit.do(line.strip())), flush=True)
if unit.pid and not unit.ended(os.WNOHANG):
    os.kill(unit.pid, signal.SIGKILL)
    unit.ended()
