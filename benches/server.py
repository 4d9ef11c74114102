"""`aquatint serve`, for the measurements beside it."""

import json
import subprocess
import threading
import urllib.request


class Server:
    """A server of a model on a free port, for as long as it is used."""

    def __init__(self, program, model, *flags):
        command = [program, "serve", "-m", str(model), "--port", "0", "--no-page", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            if line.startswith("listening on "):
                self.address = line.split()[-1]
                break
            said.append(line)
        else:
            self.process.wait()
            raise SystemExit("".join(said) or "the server ended")
        # What it says later must not fill the pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=3600) as response:
            return json.load(response)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
