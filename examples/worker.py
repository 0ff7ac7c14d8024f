#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""worker.py - answers the requests of rpc.h, like rpc_worker, in Python.

usage: worker.py [MUX]

Without MUX it is started by `kcmtool mux run` or rpc_server; with MUX it joins by name.
C and Python workers may serve the same mux.
"""
import os
import signal
import struct
import sys
import time

import kcm


def upper(args):
    return args.upper()


def total(args):
    number = sum(int(word) for word in args.split())
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return b"%d" % number


def sleep(args):
    time.sleep(min(max(int(args), 0), 10000) / 1000)
    return b"slept %d" % int(args)


METHODS = {
    b"echo": lambda args: args,
    b"upper": upper,
    b"sum": total,
    b"sleep": sleep,
    b"pid": lambda args: b"%d python" % os.getpid(),
}


def answer(request):
    """The answer to "ID METHOD [ARGS]"."""
    ident, _, rest = request.partition(b" ")
    method, _, args = rest.partition(b" ")
    try:
        return ident + b" ok " + METHODS[method](args)
    except KeyError:
        return ident + b" err unknown method"
    except ValueError:
        return ident + b" err bad arguments"


def main():
    with kcm.Worker(*sys.argv[1:2]) as worker:
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, lambda *_: worker.stop())
        for msg in worker:
            if msg.event != kcm.MESSAGE:
                continue  # a connection ended
            text = answer(msg.data[4:])
            try:
                worker.send(msg.conn, struct.pack(">I", len(text)) + text, kcm.MORE | kcm.WAIT)
            except ConnectionError:
                pass  # the client went away before its answer
            except OSError as error:
                print(f"worker.py: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
