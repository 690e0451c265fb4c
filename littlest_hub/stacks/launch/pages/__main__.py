"""`python -m littlest_hub.service littlest_hub.stacks.launch.pages` serves the pages."""

from __future__ import annotations

import os
from pathlib import Path

from littlest_hub.service.web import serve
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.pages.page import Place
from littlest_hub.stacks.launch.pages.routes import PAGES

if __name__ == "__main__":
    paths = {name: Path(os.environ[variable]) for name, variable in VARIABLES.items()}
    serve(PAGES, place=Place(records=Path(), **paths))
