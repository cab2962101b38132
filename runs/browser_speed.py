"""How long a page takes to decode and encode in headless Chromium, and what it loads.

    python runs/browser_speed.py photo.1dc photo.png ... [--threads 2] [--weights FILE]

Builds web/ (after `make web`) with the bundled weights or others, serves it on this machine with the headers
that threads need, and decodes each file `--runs` times, or encodes it if it is a photo. Prints JSON: seconds
from a first visit to a first picture; of each file the least seconds of a warm run and its seconds of
processor, which other programs disturb less; bytes loaded, plain and gzipped, and of which networks.
`--sizes` tells the bytes of all that is built, without a browser. `--screenshot page.png` shows the page
with the last file.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

WEB = Path(__file__).parents[1] / "web"
PATIENCE_S = 600
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,900")
RUN = """
const [threads, file, done] = arguments;
(async () => {
  const onedc = await import("/onedc.js");
  onedc.configure({ backend: "wasm", threads });
  const blob = await (await fetch(file)).blob();
  const data = new Uint8Array(await blob.arrayBuffer());
  const start = performance.now();
  if (file.endsWith(".1dc")) await onedc.decodeReport(data);
  else await onedc.encode(blob, { quality: 50 });
  return performance.now() - start;
})().then(done, (error) => done(`${error.name}: ${error.message}`));
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves files with the headers that threads need, and notes which."""

    asked: set[str] = set()  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        self.asked.add(self.translate_path(self.path))

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    browser.set_script_timeout(PATIENCE_S)
    yield browser
    browser.quit()


def processor_seconds(root: int) -> float:
    """Of a process and all its descendants."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        stats[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {root}
    while grown := {pid for pid, (parent, _) in stats.items() if parent in family} - family:
        family |= grown
    return sum(stats[pid][1] for pid in family if pid in stats) / os.sysconf("SC_CLK_TCK")


def run(browser: webdriver.Chrome, threads: int, file: str) -> dict[str, float]:
    driver = browser.service.process.pid
    before = processor_seconds(driver)
    milliseconds = browser.execute_async_script(RUN, threads, file)
    if isinstance(milliseconds, str):
        raise SystemExit(milliseconds)
    spent = processor_seconds(driver) - before
    return {"seconds": round(milliseconds / 1000, 2), "processor_seconds": round(spent, 2)}


def sizes(paths: Iterable[Path]) -> dict[str, dict[str, int]]:
    """Of each file: its bytes, and gzipped; of weights the bytes of each network too."""
    found = {}
    for path in sorted(paths):
        data = path.read_bytes()
        found[path.name] = {"bytes": len(data), "gzipped": len(gzip.compress(data, 9))}
        if path.suffix == ".safetensors":
            found[path.name] |= networks(data)
    return found


def networks(data: bytes) -> dict[str, int]:
    """Bytes of the tensors of a safetensors file by the first part of their names."""
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: Counter[str] = Counter(names=len(json.dumps(head)))
    for name, entry in head.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            found[name.partition(".")[0]] += last - first
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "dist"
        weights = ["--weights", args.weights] if args.weights else []
        subprocess.run(["node", WEB / "build.mjs", "--out", folder, *weights], check=True)
        if args.sizes:
            print(json.dumps(sizes(folder.iterdir()), indent=1))
            return
        for file in args.files:
            shutil.copy(file, folder)
        result: dict[str, Any] = {}
        with served(folder) as address, chromium() as browser:
            browser.get(f"{address}/index.html")
            result["first"] = run(browser, args.threads, args.files[0].name)
            for file in args.files:
                timed = [run(browser, args.threads, file.name) for _ in range(args.runs)]
                result[file.name] = {key: min(one[key] for one in timed) for key in timed[0]}
            given = {file.name for file in args.files}
            asked = (path for path in map(Path, Handler.asked) if path.is_file() and path.name not in given)
            result["loaded"] = sizes(asked)
            if args.screenshot:
                browser.find_element("id", "file").send_keys(str(args.files[-1].resolve()))
                WebDriverWait(browser, PATIENCE_S).until(
                    lambda driver: driver.find_element("id", "result").is_displayed()
                )
                browser.save_screenshot(str(args.screenshot))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
