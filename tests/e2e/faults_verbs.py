"""Every command of kcmtool that changes something: what must be there first, and what takes it back."""
import json
import subprocess

PORT, UDP_PORT, FREE_PORT = 7070, 7071, 7072
# What may be different from one look to the next.
FLEETING = {"age_s", "packets", "bytes", "queue", "queue_bytes", "given", "in", "out", "anchor_pid",
            "keeper_pid", "default_packets", "default_bytes", "took_ms", "genid", "cache_used",
            "memory_bytes", "idle_ns", "age_ns", "hit_percent", "waiting", "divert", "created", "number",
            "connections"}


def lasting(value):
    """JSON without what is fleeting."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in FLEETING}
    return [lasting(v) for v in value] if isinstance(value, list) else value


# What is in force for some sockets is not taken back because others could not be told.
PARTIAL = "it is in force for some sockets before others are told, and says so"


class Verb:
    def __init__(self, name, command, back=(), setup=(), shown=None, again=(), extra=None, once=False,
                 partial=None):
        self.name = name
        self.command = command.split()
        self.back = [b.split() for b in back]  # from after the command to before it
        self.setup = [s.split() for s in setup]
        self.shown = shown.split() if shown else None  # the command that shows what it changes
        self.again = again  # exit codes where it has been done already
        self.once = once  # the second time it does something else
        self.partial = partial  # why what has failed half-way stays so
        self.extra = extra  # more of the state: a question for the server

    @property
    def system(self):
        words = self.command
        return words[0] if words[0] in ("mux", "sock", "migrate", "flow", "rx") else "core"

    @property
    def words(self):
        return [w for w in self.command if not w.startswith("-")][:3]


def verbs(cgroup, work):
    with open(f"{work}/bad", "w", encoding="ascii") as f:
        f.write("10.0.0.0/8\n192.168.0.0/16\n")
    with open(f"{work}/policies", "w", encoding="ascii") as f:
        f.write("default pass\nlist bad bad\n10 ip src @bad drop\n"
                "20 name web ip proto tcp dport 80 pass\n")
    mux = "mux create x frame u32be"
    mux_on = f"mux attach x port {FREE_PORT} cgroup {cgroup}"
    flow, flow_off = "flow load fl0 --policies 64 --cache-entries 1024", ["flow unload fl0"]
    policy = "flow policy add fl0 10 name one ip proto udp drop"
    attach = f"migrate attach --port {PORT} --cgroup {cgroup} --name m"
    udp = f"migrate attach --port {UDP_PORT} --cgroup {cgroup} --name m --udp"
    detach, shown = ["migrate detach m"], "migrate show m"
    generation, release = "migrate generation", ["migrate generation release m"]
    both = [f"{generation} promote m 2", f"{generation} promote m 1"]
    tune, untune = f"rx tune --port {PORT} --cgroup {cgroup} --name r", ["rx untune r"]
    sock, sock_off = f"sock load --cgroup {cgroup} --sockets 1k", ["sock unload"]
    framed, limit = f"sock frame {FREE_PORT} resp", f"sock limit port={FREE_PORT} rate=10Mbit"
    return [
        Verb("load", "load mux", ["unload mux"]),
        Verb("unload", "unload mux", ["load mux"], ["load mux"], again=(7,)),
        Verb("upgrade", "load mux", ["unload mux --force", "@old"], ["@old"], "status"),
        Verb("mux create", mux, ["mux delete x"], again=(1,)),
        Verb("mux delete", "mux delete x", [mux], [mux], again=(7,)),
        Verb("mux attach", mux_on, [f"mux detach x port {FREE_PORT}"], [mux], "mux show x"),
        Verb("mux detach", f"mux detach x port {FREE_PORT}", [mux_on], [mux, mux_on], "mux show x",
             again=(1,)),
        Verb("flow load", flow, flow_off),
        Verb("flow load a file", f"{flow} -f {work}/policies", flow_off),
        Verb("flow load again", flow, [], [flow, policy], "flow policy show fl0"),
        Verb("flow load anew", flow.replace("1024", "2048"), [flow], [flow, policy], "flow show fl0"),
        Verb("flow unload", *flow_off, [flow], [flow], again=(7,)),
        Verb("flow policy add", policy, ["flow policy del fl0 one"], [flow], "flow policy show fl0",
             again=(2,)),
        Verb("flow policy del", "flow policy del fl0 one", [policy], [flow, policy],
             "flow policy show fl0", again=(1,)),
        Verb("flow policy replace", f"flow policy replace fl0 -f {work}/policies",
             ["flow policy replace fl0 -f /dev/null"], [flow], "flow policy show fl0"),
        Verb("flow policy default", "flow policy default fl0 drop", ["flow policy default fl0 pass"],
             [flow], "flow policy show fl0"),
        Verb("flow flush", "flow flush fl0", [], [flow, policy], "flow policy show fl0"),
        Verb("rx tune", tune, untune, [], "rx show", extra="mss", again=(6,)),
        Verb("rx untune", *untune, [tune], [tune], "rx show", extra="mss", again=(7,)),
        Verb("migrate attach", attach, detach),
        Verb("migrate attach again", attach, [], [attach], shown),
        Verb("migrate attach --anchor", f"{attach} --anchor", detach),
        Verb("migrate attach --udp", udp, detach),
        Verb("migrate detach", *detach, [f"{attach} --anchor"], [f"{attach} --anchor"], again=(7,)),
        Verb("migrate generation new", f"{generation} new m", [], [attach], shown),
        Verb("migrate generation promote", f"{generation} promote m 1", release,
             [attach, *both, *release], shown),
        Verb("migrate generation drain", f"{generation} drain m 1",
             [f"{generation} promote m 1"], [attach, *both], shown),
        Verb("migrate generation rollback", f"{generation} rollback m",
             [f"{generation} promote m 2"], [attach, *both, f"{generation} promote m 2"], shown,
             again=(1,), once=True),
        Verb("migrate generation release", *release, both, [attach, *both], shown),
        Verb("migrate weight", "migrate weight m 2 30", ["migrate weight m 2 0"], [attach, *both],
             shown),
        Verb("migrate policy", "migrate policy m least", ["migrate policy m hash"], [attach], shown),
        Verb("migrate park", "migrate park m", ["migrate unpark m"], [f"{attach} --anchor"], shown),
        Verb("migrate unpark", "migrate unpark m", ["migrate park m"],
             [f"{attach} --anchor", "migrate park m"], shown),
        Verb("sock load", sock, sock_off),
        Verb("sock load again", sock, [], [sock, "@unshow"], "sock frame list"),
        Verb("sock unload", *sock_off, [sock], [sock], again=(7,)),
        Verb("sock sweep", "sock sweep", [], [sock], "sock frame list"),
        Verb("sock frame", framed, [f"sock frame del {FREE_PORT}"], [sock], "sock frame list"),
        Verb("sock frame del", f"sock frame del {FREE_PORT}", [framed], [sock, framed],
             "sock frame list", again=(1,), partial=PARTIAL),
        Verb("sock limit", limit, ["sock limit del 1"], [sock], "sock limit list", partial=PARTIAL),
        Verb("sock limit del", "sock limit del 1", [limit], [sock, limit], "sock limit list",
             again=(1,), partial=PARTIAL),
        Verb("sock label", f"sock label port {PORT} tenant=one", [f"sock label port {PORT} tenant="],
             [sock], "sock show", partial=PARTIAL),
        Verb("sock snapshot", "sock snapshot", [], [sock], "sock frame list"),
    ]


# They change nothing, or run until they are told to end and have tests of their own.
OTHERS = """load unload status doctor version completion help
    mux:show mux:conns mux:workers mux:stats mux:watch mux:run mux:bridge mux:bench mux:frames
    sock:show sock:top sock:watch sock:stats sock:fields
    migrate:show migrate:watch migrate:keep migrate:check
    flow:show flow:list flow:top flow:stat flow:test-packet flow:watch rx:show""".split()


def forgotten(tool, table):
    """Commands that the tool has and that are neither in the table nor one of the others."""
    known = {":".join(v.command[:2]) for v in table} | set(OTHERS)
    found = []
    for system in ("mux", "sock", "migrate", "flow", "rx"):
        text = subprocess.run([tool, system, "help"], capture_output=True, text=True, check=True).stdout
        found += [f"{system}:{line.split()[2]}" for line in text.splitlines()
                  if line.startswith(f"  kcmtool {system} ")]
    return sorted(set(found) - known), len(found)


def show(run, words):
    done = run(["-j", *words])
    return lasting(json.loads(done.out)) if done.out else done.status
