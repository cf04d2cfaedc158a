"""Every type of a named namespace is defined in one file: two of one name in one program are undefined behaviour that no compiler
reports (the linker keeps one of their functions).

  python3 tests/check_types.py     reads fare/ and cli/; exit status 1 when a name is defined twice
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOKENS = re.compile(r"namespace\s*([\w:]*)\s*\{|\b(?:struct|class|enum class|enum)\s+(\w+)\s*(?:final\s*)?(?::(?!:)[^;{()]*)?\{|[{}]")
BLANKED = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def types(text):
    """Names with their namespace of what `text` defines outside of functions, types and anonymous namespaces."""
    around = []
    for token in TOKENS.finditer(BLANKED.sub('""', text)):
        if token[0] == "}":
            if around:
                around.pop()
        elif token[0].startswith("namespace"):
            around.append(token[1] or None)
        elif token[2]:
            if None not in around and False not in around:
                yield "::".join([*around, token[2]])
            around.append(False)
        else:
            around.append(False)


def offences(files):
    where = defaultdict(set)
    for name, text in files:
        for one in types(text):
            where[one].add(name)
    for name, places in sorted(where.items()):
        if len(places) > 1:
            yield f"{name} is defined in {' and '.join(sorted(places))}"


def main():
    files = [path for folder in ("fare", "cli") for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".h", ".cpp")]
    found = list(offences((str(path.relative_to(ROOT)), path.read_text()) for path in files))
    for one in found:
        print(one)
    print(f"types: {len(found)} offences in {len(files)} files")
    twice = list(offences([("a.h", "namespace fare { struct Row { int a; }; }"), ("b.h", "namespace fare {\nclass Row final : X { };\n}"),
                           ("c.cpp", "namespace fare { namespace { struct Row { }; } void f() { struct Row { } x; } struct Row; }"),
                           ("d.cpp", 'namespace fare { struct Row::Part { }; const char* t = "namespace fare { struct Row { "; }')]))
    if twice != ["fare::Row is defined in a.h and b.h"]:
        print(f"types: the check itself is broken: {twice}")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
