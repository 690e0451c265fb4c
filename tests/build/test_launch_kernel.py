"""A real kernel in an environment that was built, with packages of the machine's index."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.program import Builder
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system.uv import Indexes, Uv
from tests.launch_site import make_release

# ipykernel brings jupyter_client, which a server would start the kernel with.
CLIENT = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
cell = "import humanize, sys; print(humanize.__version__, sys.prefix)"
show = lambda message: print(message["content"].get("text", ""), end="")
reply = client.execute_interactive(cell, timeout=60, output_hook=show)
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


@pytest.mark.long
def test_a_kernel_of_the_environment_runs_a_cell_with_the_pinned_package(tmp_path: Path) -> None:
    place = Place(tmp_path / "launch")
    place.make()
    uv = Uv(Path(find_uv_bin()), place.cache, Indexes.of_pip())
    builder = Builder(place, uv, Python.of(make_release(tmp_path / "release")))
    order = Order(files={"requirements.txt": "humanize==4.11.0\n"})
    result = builder.build(order, lambda _: None)
    builder.finish(result)
    directory = place.environment(result.key)
    done = subprocess.run(
        [directory / "bin/python", "-I", "-c", CLIENT],
        env={"HOME": str(tmp_path), "JUPYTER_PATH": str(directory / "share/jupyter")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["4.11.0", str(directory)], done.stderr
