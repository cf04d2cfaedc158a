"""scripts/get-data against a server on this machine: right files, wrong hashes, files that are there, servers that fail.

  python3 tests/get_data_test.py
"""
import gzip
import hashlib
import http.server
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

SOURCE = pathlib.Path(os.environ.get("FARE_SOURCE_DIR", pathlib.Path(__file__).parent.parent))
SCRIPT = SOURCE / "scripts/get-data"
failures = 0


def check(name, holds, detail=""):
    global failures
    if not holds:
        failures += 1
        print(f"FAILED: {name} {detail}")


def run(*arguments, status):
    done = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    check(" ".join(map(str, arguments)), done.returncode == status, f"status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        site, data, table = folder / "site", folder / "data", folder / "table.tsv"
        site.mkdir()
        (site / "plain.csv").write_bytes(b"a,b\n1,2\n")
        (site / "packed.json.gz").write_bytes(gzip.compress(b"[]"))
        (site / "other.txt").write_bytes(b"not what was published")
        (site / "damaged.gz").write_bytes(b"no gzip stream")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"

        def write_table(*rows):
            table.write_text("# comment\n" + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")

        good = [("set/plain.csv", url + "plain.csv", sha256(b"a,b\n1,2\n"), "CC0"), ("set/packed.json.gz", url + "packed.json.gz", sha256(b"[]"), "CC0"),
                ("other/unknown.txt", url + "other.txt", "", "CC0")]
        write_table(*good)
        out = run("--data", data, "--table", table, status=0)
        check("files lie under their names", (data / "set/plain.csv").read_bytes() == b"a,b\n1,2\n" and (data / "set/packed.json.gz").is_file(), out)
        check("an unknown hash is told", sha256(b"not what was published") in out, out)
        before = (data / "set/plain.csv").stat().st_mtime_ns
        run("--data", data, "--table", table, status=0)
        check("what is there is left alone", (data / "set/plain.csv").stat().st_mtime_ns == before)
        check("no other file is left", sorted(p.name for p in data.rglob("*") if p.is_file()) == ["packed.json.gz", "plain.csv", "unknown.txt"])

        write_table(good[0], ("bad/other.txt", url + "other.txt", sha256(b"published"), "CC0"), ("bad/damaged.gz", url + "damaged.gz", sha256(b""), "CC0"),
                    ("bad/absent.txt", url + "absent.txt", sha256(b""), "CC0"))
        out = run("--data", data, "--table", table, status=1)
        check("a wrong hash is refused and named", sha256(b"published") in out and "not kept" in out, out)
        check("nothing of it is kept", not (data / "bad").exists() or not list((data / "bad").iterdir()))
        check("a missing file is named", "absent.txt" in out and "404" in out, out)
        check("what could be had is there", "1 of 4" in out, out)

        (data / "set/plain.csv").write_bytes(b"changed")
        write_table(good[0])
        out = run("--data", data, "--table", table, status=1)
        check("a changed file is refused, not overwritten", (data / "set/plain.csv").read_bytes() == b"changed" and "move it away" in out, out)
        run("--data", data, "--table", table, "--only", "nothing", status=2)
        check("--only picks", "plain.csv" in run("--list", "--table", table, "--only", "set/", status=0))
        table.write_text("../up\turl\t\tCC0\n", encoding="utf-8")
        run("--data", data, "--table", table, status=1)
        server.shutdown()
        out = run("--data", data, "--list", status=0)
        check("the table of the project is whole", len(out.splitlines()) > 150, out[:300])
    print("get-data: all checks passed" if failures == 0 else f"{failures} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
