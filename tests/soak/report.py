"""The result of a soak, for people and for programs."""
import json
import os
import time

import watch
from host import BUILD, START


def line(soak):
    c = soak.counts
    return (f"{time.monotonic() - START:6.0f} s: " + ", ".join(
        f"{c.get(k, 0)} {text}" for k, text in (
            ("mux.messages", "messages"), ("migrate.connections", "connections"),
            ("migrate.restarts", "restarts"), ("mux.kills", "kills"),
            ("flow.rule_changes", "rule changes"), ("loss.packets", "packets lost")))
        + f", {len(soak.violations)} violations")


def number(name, n):
    if name.endswith((".rss", ".bytes")) or name.split(".")[-1] in (
            "Slab", "SUnreclaim", "Percpu", "VmallocUsed"):
        return f"{n / 1024:.0f} KiB"
    return f"{n:g}"


def write(soak, samples):
    rows = watch.judge(samples) if len(samples) >= 8 else []
    if soak.interrupted:
        soak.fail("interrupted", f"after {soak.lasted:.0f} of {soak.seconds:.0f} s")
    elif not rows:
        soak.fail("soak", f"{len(samples)} samples are too few to judge")
    for r in rows:
        if not r["ok"]:
            soak.fail("growth", f"{r['name']}: {number(r['name'], r['second_quarter'])} -> "
                                f"{number(r['name'], r['last_quarter'])}, allowed "
                                f"{number(r['name'], r['allowed'])}")
    kinds = {}
    for v in soak.violations:
        kinds[v["kind"]] = kinds.get(v["kind"], 0) + 1
    result = {"schema": 1, "passed": not soak.violations, "seconds": round(soak.lasted, 1),
              "systems": soak.systems, "without": soak.without, "cores": round(soak.cores, 2),
              "counts": dict(sorted(soak.counts.items())), "excused": soak.excused,
              "errors": kinds, "violations": soak.violations, "resources": rows, "samples": samples}
    with open(os.path.join(BUILD, "soak/soak.json"), "w") as f:
        json.dump(result, f, indent=1)
    text = table(soak, result)
    with open(os.path.join(BUILD, "soak/soak.txt"), "w") as f:
        f.write(text)
    print(text, end="", flush=True)
    return 0 if result["passed"] else 1


def table(soak, r):
    out = [f"# {r['seconds']:.0f} s of {', '.join(r['systems'])}, {r['cores']:.2f} cores on average"]
    if r["without"]:
        out.append(f"# without {', '.join(r['without'])}: NOT TESTED")
    out += [f"  {name:34}{n:>16}" for name, n in r["counts"].items()]
    out.append("# excused, by name")
    out += [f"  {name:68}{n:>8}" for name, n in sorted(r["excused"].items())] or ["  nothing"]
    out.append("# resources: medians of the second and of the last quarter; machine.* is of all on it")
    out.append(f"  {'':34}{'2nd quarter':>14}{'4th quarter':>14}{'growth':>12}{'allowed':>12}")
    for x in r["resources"]:
        show = [number(x["name"], x[k]) for k in ("second_quarter", "last_quarter", "growth")]
        allowed = "-" if x["allowed"] is None else number(x["name"], x["allowed"])
        out.append(f"  {x['name']:34}{show[0]:>14}{show[1]:>14}{show[2]:>12}{allowed:>12}"
                   + ("" if x["ok"] else "  GROWS"))
    out.append("# errors" if r["errors"] else "# no errors")
    out += [f"  {kind:34}{n:>16}" for kind, n in sorted(r["errors"].items())]
    out += [f"  {v['at_s']:>8} s {v['kind']}: {v['what']}" for v in soak.violations[:20]]
    out.append("passed" if r["passed"] else "FAILED")
    return "\n".join(out) + "\n"
