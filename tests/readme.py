#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
    tests/readme.py SOURCE BUILD

What README.md shows is run: its program is examples/first.c, its console
blocks print what they say, and its ways to use patas build that program.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = (os.path.abspath(path) for path in sys.argv[1:3])
HEADER = """cmake_minimum_required(VERSION 3.21)
project(app C)
add_executable(app app.c)
"""
failures = 0


def check(holds, what, *details):
    global failures
    if not holds:
        failures += 1
        print("README.md:", what, *details, sep="\n")


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def run(command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **more)
    return done.returncode, done.stdout


def same_shape(text):
    """Addresses differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x...", text)


def check_console(block):
    """`$ command` lines, each with its output behind it."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, want = part.partition("\n")
        command = command.replace("build/", BUILD + "/")
        if "go run" in command and not shutil.which("go"):
            continue
        status, got = run(["sh", "-c", command], cwd=SOURCE)
        check(status == 0, f"`{command}` ends with {status}")
        check(same_shape(got) == same_shape(want.replace("\\\n", "")),
              f"`{command}` prints", got, "and not", want)


def use_cmake(block, installed, room):
    """A project that says what the block says, with the README's program."""
    with open(os.path.join(room, "CMakeLists.txt"), "w",
              encoding="utf-8") as file:
        file.write(HEADER + block)
    os.symlink(SOURCE, os.path.join(room, "patas"))
    for command in (
            ["cmake", "-S", room, "-B", room + "/build",
             "-DCMAKE_PREFIX_PATH=" + installed],
            ["cmake", "--build", room + "/build"]):
        status, text = run(command)
        check(status == 0, f"this CMake block fails:\n{block}", text)
    return room + "/build/app"


def use_pkg_config(line, installed, room):
    libraries = [folder for folder, _, files in os.walk(installed)
                 if "libpatas.so" in files]
    path = os.path.join(libraries[0], "pkgconfig")
    status, text = run(["sh", "-c", line], cwd=room,
                       env={**os.environ, "PKG_CONFIG_PATH": path,
                            "LD_RUN_PATH": libraries[0]})
    check(status == 0, f"`{line}` fails", text)
    return room + "/app"


def check_uses(blocks, program, want):
    with tempfile.TemporaryDirectory() as top:
        installed = os.path.join(top, "installed")
        status, text = run(["cmake", "--install", BUILD, "--prefix", installed])
        check(status == 0, "`cmake --install build` fails", text)
        ways = [(use_cmake, block) for kind, block in blocks if kind == "cmake"]
        ways += [(use_pkg_config, line) for kind, block in blocks
                 if kind == "sh" for line in block.splitlines()
                 if "pkg-config" in line]
        check(len(ways) == 3, "it shows three ways to use patas")
        for number, (use, block) in enumerate(ways):
            room = os.path.join(top, str(number))
            os.mkdir(room)
            with open(os.path.join(room, "app.c"), "w",
                      encoding="utf-8") as file:
                file.write(program)
            app = use(block, installed, room)
            if os.path.exists(app):
                status, got = run([app])
                check((status, got) == (0, want), f"{app} prints", got)


def main():
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", read("README.md"),
                        re.S | re.M)
    programs = [block for kind, block in blocks if kind == "c"]
    outputs = [block for kind, block in blocks if kind == "text"]
    licence, _, first = read("examples", "first.c").partition("\n")
    check("SPDX" in licence, "examples/first.c begins with its licence")
    check(programs[:1] == [first], "its program is not examples/first.c")
    check(outputs[:1] == [read("examples", "first.out")],
          "its output is not examples/first.out")
    licence, _, first_go = read("go", "examples", "first",
                                "main.go").partition("\n\n")
    check("SPDX" in licence, "go/examples/first begins with its licence")
    check([block for kind, block in blocks if kind == "go"] == [first_go],
          "its Go program is not go/examples/first/main.go")
    for kind, block in blocks:
        if kind == "console":
            check_console(block)
    check_uses(blocks, first, read("examples", "first.out"))
    sys.exit(1 if failures else 0)


main()
