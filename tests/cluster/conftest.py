"""A cluster of a head and two nodes, with a hub on the head, for all tests of this tier."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import arguments, browser  # noqa: F401
from tests.container.conftest import EVERYBODY
from tests.hub import Hub
from tests.slurm import Cluster

PARTITIONS = """\
c.SlurmSpawner.partitions = {"main": {"hours": 1, "processors": 2, "memory_gb": 2}}
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm on three machines."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def hub(installer: Path, cluster: Cluster) -> Hub:
    """A hub on the head, with the stack as `enable` sets it up and one partition to choose."""
    hub = Hub.install(cluster.head, installer)
    hub.write_fragment("20-everybody.py", EVERYBODY)
    command = [hub.path("hub/bin/littlest-hub"), "enable", "slurm", "--set", "address=http://head"]
    cluster.head.run([*command, "--yes"])
    hub.write_fragment("55-partitions.py", PARTITIONS)
    hub.reload()
    return hub
