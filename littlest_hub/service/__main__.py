"""`python -m littlest_hub.service MODULE` runs a stack's program with the packages of the hub."""

from __future__ import annotations

import runpy
import sys

from littlest_hub import installation
from littlest_hub.layout import PackageSet
from littlest_hub.system.import_path import append_packages

if __name__ == "__main__":
    layout = installation.of_this_release()
    prefix = installation.release_of_this_interpreter()
    append_packages(installation.active_overlay(layout, prefix), PackageSet.HUB)
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
