"""Lists the skipped tests in a CTest log, each with the sentence it gave.

Understands GoogleTest ("file:line: Skipped" followed by the message, then "[  SKIPPED ] Suite.Name") and the Python
checks of tests/ ("SKIPPED: sentence").  python3 scripts/list_skipped.py LOG
"""

import re
import sys


def skipped(lines):
    """Yields (test name, sentence)."""
    message = None
    program = "?"
    for line in lines:
        line = line.rstrip("\n")
        if found := re.match(r"\d+/\d+ Test: (\S+)", line):
            program, message = found.group(1), None
        elif found := re.match(r"SKIPPED: (.*)", line):
            yield program, found.group(1)
        elif re.search(r":\d+: Skipped$", line):
            message = []
        elif found := re.match(r"\[  SKIPPED \] ([\w/.]+)(?: \(\d+ ms\))$", line):
            yield f"{program}: {found.group(1)}", " ".join(message or []) or "no reason given"
            message = None
        elif message is not None and line.strip():
            message.append(line.strip())


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        found = list(skipped(log))
    if found:
        print(f"\n{len(found)} skipped:")
        for name, sentence in found:
            print(f"  {name}: {sentence}")
