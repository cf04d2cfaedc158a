"""scripts/setup.sh against made-up machines: what it says, what it asks for, and that it does nothing twice.

The commands that would touch the machine (dpkg-query, apt-get, sudo, id, pip) are small recorders in a folder of their own.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Setup(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        (self.root / "scripts").mkdir()
        for name in ("scripts/setup.sh", "scripts/debian-packages.txt", "requirements.txt", "requirements-test.txt"):
            shutil.copy(ROOT / name, self.root / name)
        self.bin = self.root / "bin"
        self.bin.mkdir()
        self.calls = self.root / "calls"
        # ABSENT holds the packages that are not installed.
        self.command("dpkg-query", 'for last; do :; done; case " $ABSENT " in *" $last "*) exit 1;; esac; echo "install ok installed"')
        self.command("apt-get", 'echo "apt-get $*" >> "$CALLS"; [ -z "$APT_FAILS" ]')
        self.command("id", 'echo "${FAKE_UID:-0}"')
        self.command("sudo", "exit 1")
        self.command("pip-recorder", 'echo "pip $*" >> "$CALLS"; [ -z "$PIP_FAILS" ]')
        self.command("python3", 'if [ "$1" = --version ]; then echo Python 3; else mkdir -p "$3/bin"; '
                     'cp "$(dirname "$0")/pip-recorder" "$3/bin/pip"; fi')

    def command(self, name, body):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run_setup(self, *arguments, **environment):
        self.calls.write_text("")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FARE_")}
        done = subprocess.run(["bash", str(self.root / "scripts/setup.sh"), *arguments], capture_output=True, text=True,
                              env={**clean, "PATH": f"{self.bin}:{os.environ['PATH']}", "CALLS": str(self.calls), **environment})
        return done, self.calls.read_text()

    def test_without_root_a_missing_package_gives_the_one_line_to_run(self):
        done, calls = self.run_setup("build", FAKE_UID="1000", ABSENT="ninja-build mold")
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get update && apt-get install -y --no-install-recommends ninja-build mold", done.stderr)
        self.assertEqual(calls, "")

    def test_root_installs_and_says_so_first(self):
        done, calls = self.run_setup("build", ABSENT="ninja-build")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("installing Debian packages: ninja-build", done.stdout)
        self.assertIn("ninja-build", calls)

    def test_a_failed_apt_get_stops_with_the_line(self):
        done, _ = self.run_setup("build", ABSENT="ninja-build", APT_FAILS="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("run as root", done.stderr)

    def test_without_root_nothing_is_asked_for_when_all_is_there(self):
        done, calls = self.run_setup("test", FAKE_UID="1000")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("apt-get", calls)

    def test_a_missing_browser_stops_neither_build_nor_test(self):
        for what in ("build", "test"):
            done, _ = self.run_setup(what, FAKE_UID="1000", ABSENT="chromium")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("chromium", done.stderr)

    def test_the_second_time_nothing_is_installed(self):
        first, calls = self.run_setup("test")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(calls.count("pip install"), 2)
        self.assertIn("installing into .venv the torch wheel: torch==", first.stdout)
        second, calls = self.run_setup("test")
        self.assertEqual((second.returncode, second.stdout, calls), (0, "setup: ready\n", ""))

    def test_a_failed_pip_is_tried_again(self):
        failed, _ = self.run_setup("build", PIP_FAILS="1")
        self.assertNotEqual(failed.returncode, 0)
        done, calls = self.run_setup("build")
        self.assertEqual(done.returncode, 0)
        self.assertIn("requirements.txt", calls)

    def test_changed_requirements_are_installed_again(self):
        self.run_setup("build")
        (self.root / "requirements.txt").write_text("torch==9.9\n")
        done, calls = self.run_setup("build")
        self.assertIn("torch==9.9", done.stdout)
        self.assertIn("pip install", calls)

    def test_another_libtorch_makes_the_wheel_unnecessary(self):
        (self.root / "libtorch/include/ATen").mkdir(parents=True)
        (self.root / "libtorch/include/ATen/ATen.h").write_text("")
        done, calls = self.run_setup("build", FARE_TORCH=str(self.root / "libtorch"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("pip", calls)
        done, _ = self.run_setup("build", FARE_TORCH=str(self.root / "nowhere"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("include/ATen/ATen.h", done.stderr)

    def test_an_unknown_set_is_wrong_usage(self):
        self.assertEqual(self.run_setup("everything")[0].returncode, 2)


class ListSkipped(unittest.TestCase):
    def test_each_skipped_test_comes_with_its_sentence(self):
        log = ("3/9 Testing: routing\n3/9 Test: routing\n[ RUN      ] Route.A\n../fare/x_test.cpp:7: Skipped\n"
               "set FARE_DATA to the folder of public data\n\n[  SKIPPED ] Route.A (0 ms)\n[       OK ] Route.B (1 ms)\n"
               "[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] Route.A\n4/9 Test: report_render\nSKIPPED: no Chromium here\n")
        with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
            file.write(log)
            file.flush()
            out = subprocess.run(["python3", str(ROOT / "scripts/list_skipped.py"), file.name], capture_output=True, text=True).stdout
        self.assertIn("2 skipped:", out)
        self.assertIn("  routing: Route.A: set FARE_DATA to the folder of public data\n", out)
        self.assertIn("  report_render: no Chromium here\n", out)


if __name__ == "__main__":
    unittest.main()
