"""Renders the report's example in headless Chromium: it is not empty, and nothing overflows at 1280 and 400 pixels.

Each page is loaded into a frame of the width asked; the script that measures it belongs to the test, the page itself has
none. An element overflows when it sticks out of the window and no box around it scrolls or clips on purpose.
  FARE_REPORT_TEST=path of the report_test program (it writes the pages).  Skips without Chromium.
"""

import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="f" style="border:0;width:%dpx;height:900px"></iframe>
<pre id="out"></pre><script>
const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
const frame = document.getElementById("f");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement, width = root.clientWidth, bad = [];
  const scrolls = e => { for (let p = e.parentElement; p; p = p.parentElement)
      if (["auto", "scroll"].includes(page.defaultView.getComputedStyle(p).overflowX)) return true; return false; };
  for (const e of page.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (box.width > 0 && (box.right > width + 1 || box.left < -1) && !scrolls(e))
      bad.push(e.tagName + "." + (e.getAttribute("class") || "") + " " + Math.round(box.left) + ".." + Math.round(box.right));
  }
  const cut = [];
  for (const s of page.querySelectorAll("svg")) {
    const frame = s.getBoundingClientRect();
    for (const t of s.querySelectorAll("text")) {
      const box = t.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1 || box.top < frame.top - 1)
        cut.push(t.textContent);
    }
  }
  document.getElementById("out").textContent = JSON.stringify({width, content: root.scrollWidth, height: root.scrollHeight,
      text: page.body.innerText.length, tables: page.querySelectorAll("table").length,
      drawings: page.querySelectorAll("svg").length, bad, cut});
};
frame.srcdoc = new TextDecoder().decode(bytes);
</script>"""


def measure(page, width, folder):
    """What Chromium says about the page in a window of `width` pixels."""
    wrapper = folder / f"measure-{width}.html"
    wrapper.write_text(MEASURE % (width, base64.b64encode(page.encode()).decode()), encoding="utf-8")
    dump = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--virtual-time-budget=10000",
         f"--user-data-dir={folder}/profile", "--dump-dom", wrapper.as_uri()],
        capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="out">(\{.*?\})</pre>', dump.stdout, re.DOTALL)
    assert found, f"Chromium gave no measurement (status {dump.returncode}): {dump.stderr[-500:]}"
    return json.loads(html.unescape(found.group(1)))


class Render(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        subprocess.run([os.environ["FARE_REPORT_TEST"], "--gtest_filter=Report.IsWrittenWhereAsked"], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "FARE_REPORT_OUT": str(cls.folder)})
        cls.pages = {name: (cls.folder / name).read_text(encoding="utf-8") for name in ("report.html", "index.html", "long-texts.html")}

    def test_nothing_overflows_and_nothing_is_empty(self):
        for name, page in self.pages.items():
            for width in (1280, 400):
                with self.subTest(page=name, width=width):
                    seen = measure(page, width, self.folder)
                    self.assertEqual(seen["bad"], [])
                    self.assertEqual(seen["cut"], [])
                    self.assertLessEqual(seen["content"], seen["width"])
                    self.assertGreater(seen["text"], 1000)
                    self.assertGreaterEqual(seen["tables"], 2 if name == "index.html" else 25)
                    self.assertGreaterEqual(seen["drawings"], 0 if name == "index.html" else 12)

    def test_the_measurement_sees_an_overflow(self):
        broken = self.pages["report.html"].replace("</main>", '<div style="width:2000px">wide</div></main>')
        seen = measure(broken, 400, self.folder)
        self.assertIn("DIV. ", seen["bad"][0])
        self.assertGreater(seen["content"], seen["width"])

    def test_the_pages_are_well_formed(self):
        for name, page in self.pages.items():
            with self.subTest(page=name):
                xml.etree.ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))

    def test_every_link_inside_the_page_has_its_target(self):
        page = self.pages["report.html"]
        for target in re.findall(r'href="#([^"]*)"', page):
            self.assertIn(f'id="{target}"', page)


if __name__ == "__main__":
    if CHROMIUM is None:
        print("SKIPPED: no Chromium here; install the Debian package chromium (make setup) to render the report")
        sys.exit(77)
    unittest.main()
