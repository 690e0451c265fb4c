"""Statistics: who works on the hub, with what, and what did not start; pages at /services/stats/.

`sampler` counts and measures every minute, `store` keeps the figures in a database, `pages` shows
them. The two programs run as the same user without rights. `hub` and `hub_page` run in the hub.
"""

from littlest_hub.manifest.manifest import Manifest

MANIFEST = Manifest(
    name="stats",
    title="who works on the hub, with how much memory and processors, at /services/stats/",
    fragments=("57-stats.py",),
    service="stats",
    units="littlest_hub.stacks.stats.units:units",
    commands={"stats": "littlest_hub.stacks.stats.command:run"},
    check=("littlest_hub.stacks.stats.rules:values",),
    doctor=("littlest_hub.stacks.stats.probes:samples",),
    after_enable="littlest_hub.stacks.stats.command:after_enable",
    leaves="the figures of all people. `rm -r` of that directory deletes them",
    page="docs/how-to/statistics.md",
    tests=(
        "tests/unit/stacks/stats/test_recording.py",
        "tests/unit/stacks/stats/test_sampling.py",
        "tests/unit/stacks/stats/test_reports.py",
        "tests/unit/stacks/stats/test_capacity.py",
        "tests/unit/stacks/stats/test_environment_metric.py",
        "tests/container/test_stats.py",
        "tests/browser/test_stats.py",
    ),
)
