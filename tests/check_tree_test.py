"""The tree check sees each kind of offence in small trees written here."""

import shutil
import tempfile
import unittest
from pathlib import Path

import check_tree


class TreeCheck(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.write("fare/core/README.md", "core\n")

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def expect(self, *parts):
        found = list(check_tree.offences(self.root))
        if not parts:
            self.assertEqual(found, [])
            return
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_a_clean_tree_has_no_offence(self):
        self.write("docs/a.md", "See [core](../fare/core/README.md) and [the web](https://example.org/x).\n")
        self.write("fare/core/a.cpp", '// homework/ and a/work/b are words, not machines\n')
        self.expect()

    def test_a_path_of_one_machine_is_seen(self):
        self.write("fare/core/a.cpp", 'open("/' + 'work/data");\n')
        self.expect("fare/core/a.cpp:1", "a path of one machine")

    def test_unfinished_work_is_seen(self):
        self.write("fare/core/a.cpp", "\n// TO" + "DO: later\n")
        self.expect("fare/core/a.cpp:2", "unfinished")

    def test_a_format_without_a_page_is_seen(self):
        self.write("fare/core/a.cpp", 'auto f = "fare-thing/1";\n')
        self.expect("fare-thing/1", "no page")
        self.write("docs/thing.md", "The format fare-thing/1.\n")
        self.expect()

    def test_a_dead_link_is_seen(self):
        self.write("docs/a.md", "[b](b.md)\n")
        self.expect("docs/a.md", "b.md", "not there")

    def test_a_floor_without_readme_is_seen(self):
        self.write("fare/new/a.h", "\n")
        self.expect("fare/new", "no README.md")

    def test_a_large_file_is_seen(self):
        self.write("fare/core/big.txt", "x" * (check_tree.MAX_BYTES + 1))
        self.expect("fare/core/big.txt", "do not belong")


if __name__ == "__main__":
    unittest.main()
