"""Users' work succeeds without the files that recipe/exclusions.yaml leaves out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import Kernel
from tests.hub import Hub


@pytest.fixture(scope="module")
def kernel(hub: Hub) -> Iterator[Kernel]:
    with hub.person() as person:
        person.start_server()
        with person.open_kernel() as kernel:
            yield kernel


@pytest.mark.parametrize(
    ("cell", "offered"),
    [
        ("import re\nre.compile('x').match('y').gro", "group"),
        ("import subprocess\nsubprocess.run(['x']).std", "stdout"),
        ("open('x').rea", "readlines"),
        ("from jupyterhub.app import Jup", "JupyterHub"),
        ("import yaml\nyaml.safe_l", "safe_load"),
        ("def f(number: int): return number\nf(1).bit_l", "bit_length"),
    ],
)
def test_tab_offers_what_jedi_knows_of_code_that_was_not_run(
    kernel: Kernel, cell: str, offered: str
) -> None:
    assert any(offered in each for each in kernel.complete(cell))


def test_a_debugger_listens(kernel: Kernel) -> None:
    cell = 'import debugpy\nprint(debugpy.listen(("127.0.0.1", 0))[0])'
    assert kernel.run(cell).strip() == "127.0.0.1"


def test_jupyterlab_in_core_mode_has_its_page_its_settings_and_its_themes(kernel: Kernel) -> None:
    """JupyterLab is served from the folders that are links to their twins."""
    cell = """
import json, os, re, subprocess, sys, urllib.parse, urllib.request
outside = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTERHUB")}
options = ["--core-mode", "--no-browser", "--port=28888", "--IdentityProvider.token=mine"]
lab = subprocess.Popen(
    [sys.executable, "-m", "jupyterlab", *options], env=outside, stderr=subprocess.PIPE, text=True
)
lines = iter(lab.stderr.readline, "")
address = next(found[0] for line in lines if (found := re.search("http://127[^/]+/", line)))
def get(path):
    url = urllib.parse.urljoin(address, path)
    asked = urllib.request.Request(url, headers={"Authorization": "token mine"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.read().decode(errors="replace")
try:
    scripts = re.findall(r'src="([^"]+[.]js[^"]*)"', get("lab"))
    print(len(scripts) > 0, all(map(get, scripts)))
    print(len(json.loads(get("lab/api/settings"))["settings"]) > 50)
    print("--jp-layout-color0" in get("lab/api/themes/@jupyterlab/theme-light-extension/index.css"))
finally:
    lab.terminate()
"""
    assert kernel.run(cell).split() == ["True", "True", "True", "True"]
