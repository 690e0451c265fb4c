"""Real kernels in environments that were built: of wheels of the machine's index, and of conda."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from construct.builder import DEVELOPMENT_LEVEL
from construct.builder import Builder as ReleaseBuilder
from construct.cache import Cache
from littlest_hub.stacks.launch.builder.conda import Conda
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.program import Builder
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.rattler import Rattler
from littlest_hub.system.uv import Indexes, Uv
from tests.channel import served
from tests.launch_site import make_release

# ipykernel brings jupyter_client, which a server would start the kernel with.
CLIENT = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
show = lambda message: print(message["content"].get("text", ""), end="")
reply = client.execute_interactive(sys.argv[1], timeout=60, output_hook=show)
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


def made(tmp_path: Path) -> tuple[Place, Uv, Python]:
    place = Place(tmp_path / "launch")
    place.make()
    uv = Uv(Path(find_uv_bin()), place.cache, Indexes.of_pip())
    return place, uv, Python.of(make_release(tmp_path / "release"))


def printed(directory: Path, cell: str) -> list[str]:
    """Return the words that a cell prints in the environment's kernel."""
    home = directory.parents[2]
    done = subprocess.run(
        [directory / "bin/python", "-I", "-c", CLIENT, cell],
        env={"HOME": str(home), "JUPYTER_PATH": str(directory / "share/jupyter")},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    return done.stdout.split()


@pytest.mark.long
def test_a_kernel_of_the_environment_runs_a_cell_with_the_pinned_package(tmp_path: Path) -> None:
    place, uv, python = made(tmp_path)
    builder = Builder(place, uv, python)
    order = Order(files={"requirements.txt": "humanize==4.11.0\n"})
    result = builder.build(order, lambda _: None)
    builder.finish(result)
    directory = place.environment(result.key)
    cell = "import humanize, sys; print(humanize.__version__, sys.prefix)"
    assert printed(directory, cell) == ["4.11.0", str(directory)]


@pytest.mark.long
def test_a_kernel_of_conda_has_its_own_python_and_a_wheel_of_pip(tmp_path: Path) -> None:
    """The channel is the one that releases are made of."""
    channel = ReleaseBuilder(Cache(), level=DEVELOPMENT_LEVEL, jobs=2).channel().folder
    with served(channel.parent, channel.name) as there:
        place, uv, python = made(tmp_path)
        channels = Channels({"conda-forge": there.address})
        conda = Conda(uv, python.program(place), Rattler(place.packages), channels)
        builder = Builder(place, uv, python, conda=conda)
        text = "dependencies:\n- python=3.13\n- pyyaml\n- pip:\n  - humanize==4.11.0\n"
        lines: list[str] = []
        result = builder.build(Order(files={"environment.yml": text}), lines.append)
        builder.finish(result)
    directory = place.environment(result.key)
    cell = "import humanize, os, sys, yaml; print(humanize.__version__, yaml.safe_load('[1]'),"
    cell += " sys.prefix, *sys.version_info[:2], os.environ['CONDA_PREFIX'])"
    shown = printed(directory, cell)
    assert shown == ["4.11.0", "[1]", str(directory), "3", "13", str(directory)]
