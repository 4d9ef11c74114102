#!/usr/bin/env python3
"""Takes the picture of the page for the README: docs/draw-page.py http://127.0.0.1:8642/ > docs/page.webp

Needs `aquatint serve` at that address, Chromium and chromedriver, and the font P052 (Debian: fonts-urw-base35), which
is one of the page's. The settings below give the same text each time; the frame is one in the middle of the settling.
"""

import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.request

SETTINGS = {"seed": 3, "setting-max_tokens": 72, "setting-steps": 24, "setting-block_length": 24, "setting-remasking": 0.06}
FRAME = 29
WIDTH, HEIGHT, SCALE, QUALITY = 1440, 900, 1.25, 82

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-prefers-reduced-motion",
]

SET = """
for (const [id, value] of Object.entries(arguments[0])) {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event("input"));
}
"""


class Driver:
    """A session of chromedriver."""

    def __init__(self, profile):
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        started = "started successfully on port "
        line = next(line for line in self.process.stdout if started in line)
        self.base = f"http://127.0.0.1:{line.split(started)[1].strip().rstrip('.')}/session"
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        session = self.post("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.base += "/" + session["sessionId"]

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def script(self, script, *arguments):
        return self.post("/execute/sync", {"script": script, "args": arguments})

    def until(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not self.script(f"return Boolean({expression})"):
            if time.monotonic() > end:
                sys.exit(f"never: {expression}")
            time.sleep(0.05)

    def close(self):
        urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE")).close()
        self.process.terminate()


def main():
    (address,) = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = Driver(profile)
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": SCALE, "mobile": False}
        driver.devtools("Emulation.setDeviceMetricsOverride", **size)
        driver.post("/url", {"url": address})
        driver.until("document.getElementById('go').disabled === false")
        driver.script(SET, SETTINGS)
        driver.script("document.getElementById('compose').requestSubmit()")
        driver.until(f"!document.getElementById('go').hidden && document.getElementById('scrubber').max > {FRAME}")
        driver.script(SET, {"pace": 12, "scrubber": FRAME})
        picture = driver.devtools("Page.captureScreenshot", format="webp", quality=QUALITY)
        driver.close()
    sys.stdout.buffer.write(base64.b64decode(picture["data"]))


main()
