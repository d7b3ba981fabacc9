#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Frida on the work of bench/install: frida_peer.py BUILD/bench/install [N]

The functions live in a process of their own (install --serve N); Frida's agent
is injected there, and what is timed runs inside: its Interceptor, in
JavaScript. `batch` is one flush for all, `single` one for each.
"""
import subprocess
import sys

AGENT = """
function all(functions, each, one) {
    const begin = Date.now();
    for (const f of functions) {
        one(f);
        if (each)
            Interceptor.flush();
    }
    Interceptor.flush();
    return (Date.now() - begin) / 1000;
}
let functions = [];
rpc.exports = {
    learn(list) { functions = list.map(ptr); },
    install(fake, each, fast) {
        const to = ptr(fake);
        let failed = 0;
        const seconds = all(functions, each, f => {
            try {
                if (fast)
                    Interceptor.replaceFast(f, to);
                else
                    Interceptor.replace(f, to);
            } catch (e) { failed++; }
        });
        return [seconds, failed];
    },
    restore(each) { return all(functions, each, f => Interceptor.revert(f)); },
};
"""


def run(program, count, each, fast):
    host = subprocess.Popen([program, "--serve", str(count)], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(word):
        host.stdin.write(word + "\n")
        host.stdin.flush()
        return float(host.stdout.readline())

    try:
        fake, number = host.stdout.readline().split()
        functions = [host.stdout.readline().strip() for _ in range(int(number))]
        session = frida.attach(host.pid)
        script = session.create_script(AGENT)
        script.load()
        api = script.exports_sync
        api.learn(functions)
        plain, before = ask("time"), ask("memory")
        seconds, failed = api.install(fake, each, fast)
        after, patched, call = ask("memory"), ask("check"), ask("time")
        undo = api.restore(each)
        left = ask("check")
        print("%-10s %7d %-6s %12.0f %12.0f %8.0f   %d done, %d failed, "
              "%d left; call %.2f" %
              ("frida-fast" if fast else "frida", count,
               "single" if each else "batch", count / max(seconds, 1e-3),
               count / max(undo, 1e-3), (after - before) / count, patched,
               failed, left, call / plain), flush=True)
    finally:
        host.kill()
        host.wait()


if len(sys.argv) < 2:
    sys.exit(__doc__)
try:
    import frida
except ImportError:
    print("peer frida: not installed (python3 -m pip install frida)")
    sys.exit(0)
print("%-10s %7s %-6s %12s %12s %8s" %
      ("library", "N", "mode", "patches/s", "restores/s", "B/patch"))
for size in [int(n) for n in sys.argv[2:]] or [1000, 20000]:
    for one_by_one in (True, False):
        for quick in (False, True):
            run(sys.argv[1], size, one_by_one, quick)
