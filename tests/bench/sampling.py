"""Measure what samples of 220 servers cost (`make bench-stats`).

The servers are real units of the hub, and real to JupyterHub, but small ones that only listen: the
sampler does not see the difference.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests import simulated_statistics
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub, build_installer
from tests.machine import Machine
from tests.stats_hub import (
    ADMIN_PASSWORD,
    SAMPLER,
    await_servers,
    enable,
    people_fragment,
    run,
    set_values,
)

PEOPLE, MINUTES = 220, 5
_LISTEN = (
    "import http.server, os, urllib.parse;"
    "at = urllib.parse.urlsplit(os.environ['JUPYTERHUB_SERVICE_URL']);"
    "handler = http.server.SimpleHTTPRequestHandler;"
    "http.server.HTTPServer((at.hostname, at.port), handler).serve_forever()"
)
SMALL = f'c.Spawner.cmd = ["/usr/bin/env", "python3", "-I", "-c", {_LISTEN!r}]\n'


def cpu_ms(hub: Hub, unit: str) -> float:
    shown = hub.machine.systemctl("show", "--property=CPUUsageNSec", "--value", unit).stdout
    return int(shown) / 1e6


def memory_kib(hub: Hub, unit: str) -> int:
    """Return the memory of a unit's main process, its share of what it shares with others."""
    text = hub.machine.read(f"/proc/{hub.main_pid(unit)}/smaps_rollup")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def start(url: str, number: int) -> None:
    with Person(url, "boss", ADMIN_PASSWORD, timeout_s=300) as boss:
        boss.log_in()
        name = simulated_statistics.name_of(number)
        assert boss.start_for(name) < 400, name


def measure(hub: Hub, minutes: int) -> dict[str, float]:
    """Return what a minute costs the sampler and the hub, with samples and without."""
    sampler, service = SAMPLER, hub.layout.hub_service
    before, began = (cpu_ms(hub, sampler), cpu_ms(hub, service)), time.monotonic()
    time.sleep(60 * minutes)
    passed = (time.monotonic() - began) / 60
    after = cpu_ms(hub, sampler), cpu_ms(hub, service)
    found = {
        "sampler_ms_per_minute": (after[0] - before[0]) / passed,
        "hub_ms_per_minute": (after[1] - before[1]) / passed,
        "sampler_pss_kib": memory_kib(hub, sampler),
        "database_bytes": json.loads(run(hub, "stats", "--json"))["size_bytes"],
    }
    hub.machine.systemctl("stop", sampler)
    idle, began = cpu_ms(hub, service), time.monotonic()
    time.sleep(60 * minutes)
    passed = (time.monotonic() - began) / 60
    found["hub_without_samples_ms_per_minute"] = (cpu_ms(hub, service) - idle) / passed
    return found


def main() -> None:
    """Start the servers, and print what samples of them cost, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--minutes", type=int, default=MINUTES)
    options = parser.parse_args()
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, build_installer())
        hub.write_fragment("50-people.py", people_fragment(options.people))
        hub.write_fragment("60-small.py", SMALL)
        enable(hub)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda n: start(hub.url, n), range(1, options.people + 1)))
        with Person(hub.url, "boss", ADMIN_PASSWORD) as boss:
            boss.log_in()
            await_servers(boss, options.people)
            began = time.monotonic()
            page = boss.browser.get("/services/stats/hub", params={"period": "day"})
            print(f"page: {page.status_code} in {time.monotonic() - began:.2f} s", file=sys.stderr)
        set_values(hub, EVERY_S=60)
        eventually(lambda: "every 60 s" in run(hub, "stats"), 90, "a sample each minute")
        print(json.dumps(measure(hub, options.minutes), indent=1))


if __name__ == "__main__":
    main()
