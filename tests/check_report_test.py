"""The report check accepts the example and sees each kind of offence in copies of it."""

import copy
import json
import unittest
from pathlib import Path

import check_report

ROOT = Path(__file__).parent.parent
EXAMPLE = json.loads((ROOT / "tests/golden/report/example_report.json").read_text())
SCHEMA = json.loads(check_report.SCHEMA.read_text())
PAGE = (ROOT / "docs/report-json.md").read_text()


class ReportCheck(unittest.TestCase):
    def offences_after(self, change):
        report = copy.deepcopy(EXAMPLE)
        change(report)
        return "\n".join(check_report.offences(report, SCHEMA))

    def test_the_example_is_sound(self):
        self.assertEqual(self.offences_after(lambda r: None), "")

    def test_a_missing_field_is_named(self):
        self.assertIn("report.experts[3]: field 's4' is missing", self.offences_after(lambda r: r["experts"][3].pop("s4")))

    def test_a_null_needs_a_reason(self):
        self.assertIn("report.generation.metrics[0].samples: null without 'samples_reason'",
                      self.offences_after(lambda r: r["generation"]["metrics"][0].pop("samples_reason")))

    def test_an_unknown_answer_is_refused(self):
        self.assertIn("report.stages[0].answer", self.offences_after(lambda r: r["stages"][0].update(answer="passed")))

    def test_a_reversed_interval_is_seen(self):
        self.assertIn("is not [low, high]", self.offences_after(lambda r: r["per_axis"][0].update(interval=[2, 1])))

    def test_nan_is_refused(self):
        self.assertIn("not a finite number", self.offences_after(lambda r: r["experts"][0].update(s1=float("nan"))))

    def test_a_missing_stage_is_seen(self):
        self.assertIn("expected 0 to 5", self.offences_after(lambda r: r["stages"].pop(2)))

    def test_every_field_of_the_schema_stands_on_the_page(self):
        def names(schema):
            for key, sub in schema.get("properties", {}).items():
                yield key
                yield from names(sub)
            if "items" in schema:
                yield from names(schema["items"])
        for name in sorted(set(names(SCHEMA))):
            self.assertRegex(PAGE, r"\b" + name + r"\b", f"docs/report-json.md does not mention {name}")


if __name__ == "__main__":
    unittest.main()
