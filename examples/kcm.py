# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Workers of a kcmtool mux in Python: a thin layer over libkcm.so.0, by ctypes.

    import kcm
    with kcm.Worker() as worker:            # started by `kcmtool mux run`; or Worker("name")
        for msg in worker:                  # ends when the server goes
            worker.send(msg.conn, msg.data)
"""
import ctypes
import os
from pathlib import Path

MESSAGE, CLOSED, BAD_FRAME, TOO_BIG, TRUNCATED, TIMEOUT = range(6)  # Message.event
REDELIVERED = 1  # Message.flags: a worker that died may have handled it
MORE, WAIT = 1, 2  # flags of send()


class Message(ctypes.Structure):
    """A message (event MESSAGE), or what became of a connection (the other events)."""

    _fields_ = [
        ("_data", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("conn", ctypes.c_uint64),
        ("event", ctypes.c_int),
        ("error", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("queued_ns", ctypes.c_uint64),
        ("_priv", ctypes.c_uint64),
    ]

    @property
    def data(self):
        """A copy of the whole message, header included."""
        return ctypes.string_at(self._data, self.len) if self.len else b""

    @property
    def view(self):
        """The message in place: valid until it is released, and to be read only."""
        return memoryview((ctypes.c_char * self.len).from_address(self._data)).cast("B")


def _load():
    built = Path(__file__).resolve().parent.parent / "build" / "libkcm.so.0"
    path = os.environ.get("KCM_LIBRARY") or (str(built) if built.exists() else "libkcm.so.0")
    lib = ctypes.CDLL(path)
    worker, msgs, conn = ctypes.c_void_p, ctypes.POINTER(Message), ctypes.c_uint64
    for name, result, *args in (
        ("worker_open", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(worker)),
        ("worker_close", None, worker),
        ("recv", ctypes.c_int, worker, msgs, ctypes.c_uint, ctypes.c_int),
        ("poll_fd", ctypes.c_int, worker),
        ("release", None, worker, msgs, ctypes.c_uint),
        ("send", ctypes.c_int, worker, conn, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int),
        ("send_any", ctypes.c_int, worker, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int,
         ctypes.POINTER(conn)),
        ("flush", ctypes.c_int, worker),
        ("worker_enable", ctypes.c_int, worker, ctypes.c_int),
    ):
        function = getattr(lib, "kcm_" + name)
        function.restype, function.argtypes = result, args
    return lib


_lib = _load()


def _check(result, what):
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


class Worker:
    """One worker; to be used by one thread at a time. Needs no privilege."""

    def __init__(self, name=None, batch=32):
        self._handle = ctypes.c_void_p()
        code = _lib.kcm_worker_open(name.encode() if name else None, ctypes.byref(self._handle))
        _check(code, f"become a worker of {name or '$KCM_WORKER_FD'}")
        self._msgs = (Message * batch)()
        self._stop = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Send what is kept back, return what is not released, leave."""
        if self._handle:
            _lib.kcm_worker_close(self._handle)
            self._handle = None

    def recv(self, timeout_ms=-1):
        """The next messages, to be released by release(); [] after the time-out.

        They are overwritten by the next recv(). BrokenPipeError: the server is gone.
        """
        n = _lib.kcm_recv(self._handle, self._msgs, len(self._msgs), timeout_ms)
        return self._msgs[:_check(n, "receive")]

    def release(self, msg):
        """Done with this message. Reply before, not after."""
        _lib.kcm_release(self._handle, ctypes.byref(msg), 1)

    def __iter__(self):
        """Every message in turn, released when the next one is asked for."""
        while not self._stop:
            try:
                batch = self.recv(500)  # lets the interpreter run signal handlers
            except BrokenPipeError:
                return
            except InterruptedError:
                continue
            for msg in batch:
                yield msg
                self.release(msg)

    def stop(self):
        """End the iteration when the messages that were received are done; for signal handlers."""
        self._stop = True

    def fileno(self):
        """For selectors and asyncio: when readable, recv(0) until it returns []."""
        return _lib.kcm_poll_fd(self._handle)

    def send(self, conn, data, flags=WAIT):
        """One message to a connection, whole. ConnectionError: it is gone."""
        _check(_lib.kcm_send(self._handle, conn, data, len(data), flags), "send")

    def send_any(self, data, flags=WAIT):
        """One message to the least loaded connection, which is returned."""
        conn = ctypes.c_uint64()
        code = _lib.kcm_send_any(self._handle, data, len(data), flags, ctypes.byref(conn))
        _check(code, "send to any connection")
        return conn.value

    def flush(self):
        """Send what MORE kept back."""
        _check(_lib.kcm_flush(self._handle), "flush")

    def enable(self, on=True):
        """Receive-disable and -enable: what waits for a disabled worker goes to others."""
        _check(_lib.kcm_worker_enable(self._handle, on), "enable")
