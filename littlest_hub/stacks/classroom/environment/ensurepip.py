"""A copy of the shared environment's pip for environments that users make with `python -m venv`.

The release's Python has no ensurepip, which contains a wheel of pip. So the first generation has
this file as `ensurepip/__main__.py`; venv runs it with the new environment's Python.
"""

import importlib
import shutil
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Copy pip from the environment that this one was made from, and write its scripts."""
    target = Path(sysconfig.get_path("purelib"))
    source = Path(sysconfig.get_path("purelib", vars={"base": sys.base_prefix}))
    if target == source:
        return  # the shared environment itself, which has pip
    for directory in (source / "pip", *source.glob("pip-*.dist-info")):
        shutil.copytree(directory, target / directory.name, dirs_exist_ok=True)
    importlib.invalidate_caches()
    scripts = importlib.import_module("pip._vendor.distlib.scripts")
    maker = scripts.ScriptMaker(None, sysconfig.get_path("scripts"))
    maker.variants, maker.set_mode, maker.clobber = {""}, True, True
    maker.make_multiple([f"{name} = pip._internal.cli.main:main" for name in ("pip", "pip3")])


if __name__ == "__main__":
    main()
