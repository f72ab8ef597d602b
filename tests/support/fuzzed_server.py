"""A server process for fuzzing; answers commands on standard input with JSON.

Its one page has a job at all times. Files that must never be served lie beside and above what is served.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import psutil

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Activations, Job, JobResult, Tap
from pytest_tfjs.browsers.serving import routes
from pytest_tfjs.browsers.serving.server import PAGE_ROOT, Server
from pytest_tfjs.browsers.tfjs_dist import Dist
from tests.support.page_jobs import layer_tap, open_page, tap
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import X

CANARY = "canary-9f2e61"


def lay_out(root: Path) -> tuple[Path, Path]:
    """Fills a folder; gives the page's root and a model.json in it."""
    page, model = root / "site" / "page", root / "models" / "tiny"
    page.mkdir(parents=True)
    for name in ("index.html", "main.js"):
        (page / name).write_bytes((PAGE_ROOT / name).read_bytes())
    model_json = dense_model(model)
    for place in (root, page.parent, page, model.parent, model):
        for name in ("canary.js", "canary.html", "canary.bin", "canary.txt", "canary.json", ".canary.js"):
            if place != page or name.endswith((".txt", ".json", ".bin")):
                (place / name).write_text(CANARY)
    for folder in (page, model):
        (folder / "link.js").symlink_to(root / "canary.js")
        (folder / "folder.js").symlink_to(root)
    return page, model_json


class Served:
    """The server, its page, and a thread that consumes messages."""

    def __init__(self, root: Path) -> None:
        page_root, self.model_json = lay_out(root)
        routes.POLL_S = 0.02
        self.server = Server(Dist.shipped(), page_root=page_root)
        self.server.start()
        self.channel = self.server.open_page({"backend": "cpu"})
        self.url = self.server.publish(self.model_json)
        self.received: list[Activations] = []
        self.jobs = 0
        self.assign()
        threading.Thread(target=self.take, daemon=True).start()

    def assign(self, ended: JobResult | None = None) -> None:
        """The next job: one chunk and its layers alone, for one feed."""
        if ended is None:
            self.received.clear()
        self.jobs += 1
        step = {"layer": ["relu"], "inputs": [{"row": "dense"}], "masks": [None]}
        plan = {"rows": ["dense"], "steps": [step], "output": 0}
        taps = (Tap("dense", {"path": ["dense"]}), Tap("relu", {"path": ["relu"]}, plan))
        reference = np.ones((2, 2), np.float32)
        job = Job(
            self.model_json, "layers", ({"x": X},), (taps,), chunk_limit=1 << 20,
            references=lambda _feed, names: dict.fromkeys(names, reference),
        )  # fmt: skip
        self.channel.assign(job, self.url)

    def take(self) -> None:
        while True:
            message = self.channel.next_message(1.0)
            if isinstance(message, Activations):
                self.received.append(message)
            if isinstance(message, JobResult):
                self.assign(message)

    def facts(self) -> dict:
        gc.collect()
        process = psutil.Process()
        return {
            "rss": process.memory_info().rss,
            "threads": process.num_threads(),
            "files": process.num_fds() if os.name == "posix" else 0,
            "job": self.jobs,
            "received": [
                {name: value.tolist() for name, value in message.tensors.items()} for message in self.received
            ],
        }

    def job_in_browser(self) -> dict:
        """The activation of a real page that this server serves from now on."""
        harness = Harness(dist=Dist.shipped())
        harness._server = self.server
        self.server._site.page_root = PAGE_ROOT
        try:
            page = open_page(harness)
            given = tap(page, self.model_json, "layers", {"x": X}, layer_tap("relu"))
            return {"relu": given["relu"].tolist()}
        finally:
            harness.close()


def main() -> None:
    served = Served(Path(sys.argv[1]))
    addresses = {"url": served.server.url, "page": served.channel.page, "model": served.url}
    print(json.dumps(addresses), flush=True)
    for line in sys.stdin:
        if line.strip() == "assign":
            served.assign()
        answer = served.job_in_browser() if line.strip() == "browser" else served.facts()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
