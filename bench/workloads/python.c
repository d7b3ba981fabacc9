/* SPDX-License-Identifier: MIT */
/* CPython, embedded: one script over much of the interpreter. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "workload.h"

static const char script[] =
    "import sys, io, re, json, math, struct, collections, functools\n"
    "import itertools, random, decimal, fractions, textwrap, hashlib\n"
    "import datetime, string, heapq, bisect, pickle, copy, threading\n"
    "import asyncio, enum, dataclasses, contextlib, traceback, ast\n"
    "out = []\n"
    "def say(*a): out.append(' '.join(map(str, a)))\n"
    "r = random.Random(7)\n"
    "words = [''.join(r.choice(string.ascii_lowercase) for _ in range(6))\n"
    "         for _ in range(3000)]\n"
    "say(hashlib.sha256(' '.join(sorted(words)).encode()).hexdigest())\n"
    "say(collections.Counter(w[0] for w in words).most_common(3))\n"
    "say(len(re.findall(r'(?i)([a-c]+)(?=z|y)', ' '.join(words))))\n"
    "d = {'a': [1, 2.5, None, True], 'b': {'c': '\\u00e4\\U0001f412'}}\n"
    "say(json.dumps(d, sort_keys=True), json.loads(json.dumps(d)) == d)\n"
    "say(pickle.loads(pickle.dumps(d)) == d, copy.deepcopy(d) == d)\n"
    "say(math.factorial(60), pow(3, 10**5, 10**9 + 7), 2**200 // 3**50)\n"
    "say(decimal.Decimal(1) / 7, fractions.Fraction(3, 9), 0.1 + 0.2)\n"
    "@functools.lru_cache\n"
    "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
    "say(fib(200), struct.pack('<IhQ', 1, -2, 3).hex())\n"
    "@dataclasses.dataclass(order=True)\n"
    "class P:\n"
    "    x: int\n"
    "    y: str = 'q'\n"
    "say(sorted([P(3), P(1, 'z'), P(2)]))\n"
    "class C(enum.Enum):\n"
    "    RED = 1\n"
    "say(list(C), C['RED'])\n"
    "def g():\n"
    "    try:\n"
    "        x = yield 1\n"
    "        yield x * 2\n"
    "    finally:\n"
    "        say('closed')\n"
    "i = g(); say(next(i), i.send(21)); i.close()\n"
    "for f in ('1/0', '[][3]', '{}[1]', 'int(\"x\")', 'nope', 'None.x'):\n"
    "    try: eval(f)\n"
    "    except Exception as e: say(type(e).__name__, e)\n"
    "async def co(n):\n"
    "    await asyncio.sleep(0)\n"
    "    return n * n\n"
    "async def main(): return await asyncio.gather(*map(co, range(9)))\n"
    "say(asyncio.run(main()))\n"
    "total = []\n"
    "ts = [threading.Thread(target=lambda k=k: total.append(sum(range(k))))\n"
    "      for k in range(0, 2000, 400)]\n"
    "[t.start() for t in ts]; [t.join() for t in ts]; say(sorted(total))\n"
    "say(datetime.datetime(2020, 2, 29).isoformat(), "
    "datetime.timedelta(days=1.5))\n"
    "say(ast.dump(ast.parse('a = b[1:2] if c else lambda: 0')))\n"
    "h = []\n"
    "for w in words[:500]: heapq.heappush(h, w)\n"
    "say(heapq.heappop(h), bisect.bisect(sorted(words), 'm'))\n"
    "say('%s %r %5.2f %x' % ('a', 'b', 3.14159, 255), f'{1234567:,} "
    "{3!r:>4}')\n"
    "say('\\u00df'.upper(), 'abc'.encode('utf-16').hex(), "
    "b'\\xff'.decode('latin-1'))\n"
    "m = [[(i * j) % 10 for j in range(40)] for i in range(40)]\n"
    "say(sum(a * b for x in m for a, b in zip(x, reversed(x))))\n"
    "say(list(itertools.islice(itertools.permutations('abcd'), 20, 24)))\n"
    "b = bytearray(range(50)); b[3:9] = b'xyz'; say(bytes(b[::7]))\n"
    "say(memoryview(b)[2:5].tolist(), {1, 2} | {3}, frozenset('a'))\n"
    "match d:\n"
    "    case {'b': {'c': c}}: say('matched', len(c))\n"
    "exec('class M(type): pass\\nclass K(metaclass=M):\\n "
    "__slots__=(\"a\",)')\n"
    "text = '\\n'.join(out)\n";

void bench_work(bench_emit emit)
{
    static int begun;
    if (!begun) {
        PyConfig config;
        PyConfig_InitIsolatedConfig(&config);
        config.use_hash_seed = 1;
        config.hash_seed = 3;
        config.site_import = 0;
        config.write_bytecode = 0;
        PyConfig_SetBytesString(&config, &config.program_name,
                                "/usr/bin/python3.11");
#if defined(PYTHON_HOME) /* another architecture's, unpacked somewhere */
        PyConfig_SetBytesString(&config, &config.home, PYTHON_HOME);
#endif
        PyStatus status = Py_InitializeFromConfig(&config);
        PyConfig_Clear(&config);
        if (PyStatus_Exception(status)) {
            bench_say(emit, "python: %s\n", status.err_msg);
            return;
        }
        begun = 1;
    }
    PyObject *names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *result = PyRun_String(script, Py_file_input, names, names);
    if (!result)
        PyErr_Print();
    PyObject *text = PyDict_GetItemString(names, "text");
    Py_ssize_t size;
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    if (bytes)
        emit(bytes, (size_t)size);
    Py_XDECREF(result);
    Py_DECREF(names);
    PyGC_Collect();
}
