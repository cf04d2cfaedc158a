"""The floors check sees each kind of offence in small trees written here."""

import shutil
import tempfile
import unittest
from pathlib import Path

import check_floors


class FloorsCheck(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.write("tests/floors.txt",
                   "fare/core:\nfare/stats: fare/core\nfare/routing: fare/core\nfare/one: fare/core\n"
                   "fare/two: fare/core fare/one\ncli: fare/core\ntorch-free: fare/stats\nstudies: fare/one fare/two\n")
        for folder in ("core", "stats", "routing", "one", "two"):
            self.write(f"fare/{folder}/a.h", "#pragma once\n")

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def expect(self, *parts):
        found = list(check_floors.offences(self.root))
        if not parts:
            self.assertEqual(found, [])
            return
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_a_clean_tree_has_no_offence(self):
        self.write("fare/stats/b.cpp", '#include <vector>\n#include "fare/core/a.h"\n')
        self.expect()

    def test_an_upward_include_is_named_with_its_line(self):
        self.write("fare/core/b.cpp", '#include <vector>\n#include "fare/stats/a.h"\n')
        self.expect("fare/core/b.cpp:2", "may not include fare/stats")

    def test_angle_brackets_do_not_hide_an_upward_include(self):
        self.write("fare/core/b.cpp", "#  include <fare/stats/a.h>\n")
        self.expect("fare/core/b.cpp:1", "may not include fare/stats")

    def test_torch_in_a_torch_free_folder_is_seen(self):
        self.write("fare/stats/b.cpp", "#include <torch/torch.h>\n")
        self.expect("fare/stats/b.cpp", "torch-free", "torch/torch.h")

    def test_torch_through_an_allowed_header_is_seen(self):
        self.write("fare/core/tensor.h", "#include <ATen/ATen.h>\n")
        self.write("fare/stats/b.cpp", '#include "fare/core/tensor.h"\n')
        self.expect("fare/stats/b.cpp", "fare/core/tensor.h -> ATen/ATen.h")

    def test_nothing_includes_cli(self):
        self.write("fare/routing/b.cpp", '#include "cli/flags.h"\n')
        self.expect("fare/routing/b.cpp:1", "nothing includes cli")

    def test_a_study_may_not_include_another(self):
        self.write("fare/two/b.cpp", '#include "fare/one/a.h"\n')
        self.expect("study fare/two includes study fare/one")

    def test_a_test_may_look_further_down_but_never_up(self):
        self.write("fare/routing/b_test.cpp", '#include "fare/stats/a.h"\n')
        self.expect()
        self.write("fare/stats/b_test.cpp", '#include "fare/routing/a.h"\n')
        self.expect("fare/stats/b_test.cpp:1", "may not include fare/routing")

    def test_an_unlisted_folder_is_an_offence(self):
        self.write("fare/new/a.h", "#pragma once\n")
        self.expect("fare/new", "not in tests/floors.txt")

    def test_a_bare_header_name_is_an_offence(self):
        self.write("fare/core/b.cpp", '#include "a.h"\n')
        self.expect("by their path from the root")

    def test_a_source_includes_its_own_header_first(self):
        self.write("fare/core/a.cpp", '#include <vector>\n#include "fare/core/a.h"\n')
        self.expect("fare/core/a.cpp", "own header first")

    def test_a_list_that_points_upwards_is_refused(self):
        self.write("tests/floors.txt", "fare/core: fare/stats\nfare/stats:\n")
        with self.assertRaises(SystemExit):
            list(check_floors.offences(self.root))


if __name__ == "__main__":
    unittest.main()
