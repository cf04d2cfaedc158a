"""Checks a report.json against docs/schemas/report.schema.json and the rules a schema cannot say.

  python3 tests/check_report.py REPORT.json ..     one line per offence; exit status 1 when there is one
Besides the schema: every null has a sibling NAME_reason with text, no number is NaN or infinite, intervals are ordered,
and the stages of every candidate are 0 to 5, once each.  Standard library only (no general JSON-schema validator: the
keywords read here are the ones the schema uses).
"""

import json
import math
import re
import sys
from pathlib import Path

SCHEMA = Path(__file__).parent.parent / "docs/schemas/report.schema.json"
KNOWN = {"$schema", "$defs", "$ref", "title", "description", "type", "required", "properties", "items", "enum", "const",
         "pattern", "minItems", "maxItems"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def schema_offences(value, schema, root, place):
    """Yields where `value` breaks `schema`."""
    if unknown := set(schema) - KNOWN:
        raise SystemExit(f"{SCHEMA}: keyword {sorted(unknown)} is not read by this check")
    if "$ref" in schema:
        yield from schema_offences(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, place)
        return
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, t) for t in types):
        yield f"{place}: expected {' or '.join(types)}, found {json.dumps(value)[:60]}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {json.dumps(value)} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: expected {json.dumps(schema['const'])}, found {json.dumps(value)[:60]}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{place}: {len(value)} entries"
        for index, item in enumerate(value):
            yield from schema_offences(item, schema.get("items", {}), root, f"{place}[{index}]")
    if isinstance(value, dict):
        for key in schema.get("required", []):
            if key not in value:
                yield f"{place}: field '{key}' is missing"
        for key, sub in schema.get("properties", {}).items():
            if key in value:
                yield from schema_offences(value[key], sub, root, f"{place}.{key}")


def rule_offences(value, place):
    """Nulls with reasons, finite numbers, ordered intervals."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: not a finite number"
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from rule_offences(item, f"{place}[{index}]")
    if isinstance(value, dict):
        for key, item in value.items():
            if item is None and not value.get(key + "_reason"):
                yield f"{place}.{key}: null without '{key}_reason'"
            if key.endswith("interval") and isinstance(item, list) and len(item) == 2 and item[0] > item[1]:
                yield f"{place}.{key}: {item} is not [low, high]"
            yield from rule_offences(item, f"{place}.{key}")


def offences(report, schema):
    yield from schema_offences(report, schema, schema, "report")
    yield from rule_offences(report, "report")
    ladder = {}
    for row in report.get("stages") or []:
        ladder.setdefault((row.get("candidate"), row.get("control_class")), []).append(row.get("stage"))
    for who, stages in ladder.items():
        if stages != list(range(6)):
            yield f"report.stages: candidate {who[0]} ({who[1]}) has stages {stages}, expected 0 to 5 in order"
    if not ladder:
        yield "report.stages: empty; every run has the six stages of at least one candidate"


def main():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    status = 0
    for name in sys.argv[1:]:
        found = list(offences(json.loads(Path(name).read_text(encoding="utf-8")), schema))
        for sentence in found:
            print(f"{name}: {sentence}")
        print(f"{name}: {len(found)} offences")
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main())
