#!/usr/bin/env python3
"""Counts the instructions of fixed work with callgrind and holds them to what they were.

They do not depend on what else the machine does, only on the code and the compiler: where the compiler is
another one than that of the recorded counts, the tolerance is wider.

    benches/instructions.py            count and compare; exit 1 where something grew
    benches/instructions.py --record   write benches/instructions.json anew
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "benches/instructions.json"
WORK = ["take", "give", "give_at_once", "pass", "edit"]
TOLERANCE, OTHER_COMPILER = 0.03, 0.15


def binary():
    command = ["cargo", "bench", "--locked", "--bench", "hot_path", "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "hot_path":
            return message["executable"]
    raise SystemExit("cargo built no hot_path")


def count(program=None):
    program = program or binary()
    found = {}
    for work in WORK:
        with tempfile.NamedTemporaryFile() as out:
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", program, work]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
        collected = re.search(r"Collected : (\d+)", run.stderr)
        if not collected:
            raise SystemExit(f"callgrind counted nothing for {work}: {run.stderr}")
        found[work] = int(collected[1])
    return found


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main():
    found = count()
    if "--record" in sys.argv:
        RECORDED.write_text(json.dumps({"compiler": compiler(), "instructions": found}, indent=1) + "\n")
        return
    recorded = json.loads(RECORDED.read_text())
    tolerance = TOLERANCE if recorded["compiler"] == compiler() else OTHER_COMPILER
    grown = False
    for work, count_now in found.items():
        before = recorded["instructions"][work]
        change = count_now / before - 1
        print(f"instructions: {work}: {count_now:,} ({change:+.1%} of {before:,})")
        grown |= change > tolerance
    if grown:
        raise SystemExit(
            f"instructions: more than {tolerance:.0%} grew; mend it, or say why in the commit that records it "
            "(benches/instructions.py --record)"
        )


if __name__ == "__main__":
    main()
