"""`python -m littlest_hub.service littlest_hub.stacks.launch.pages` serves the pages."""

from __future__ import annotations

import os
from pathlib import Path

from littlest_hub.service.web import serve
from littlest_hub.stacks.launch.pages.page import Place
from littlest_hub.stacks.launch.pages.routes import PAGES

VARIABLES = {
    "resolver": "LITTLEST_HUB_LAUNCH_RESOLVER",
    "sources": "LITTLEST_HUB_LAUNCH_SOURCES",
    "starter": "LITTLEST_HUB_LAUNCH_STARTER",
    "logs": "LITTLEST_HUB_LAUNCH_LOGS",
}
"""Variables of the unit, by what of the surroundings they name: paths that are bound into the
service's view of the file system."""

if __name__ == "__main__":
    paths = {name: Path(os.environ[variable]) for name, variable in VARIABLES.items()}
    serve(PAGES, place=Place(records=Path(), **paths))
