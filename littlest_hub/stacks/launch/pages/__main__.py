"""`python -m littlest_hub.service littlest_hub.stacks.launch.pages` serves the pages."""

from __future__ import annotations

import os
from pathlib import Path

from littlest_hub.service.web import serve
from littlest_hub.stacks.launch.pages.page import Place
from littlest_hub.stacks.launch.pages.routes import PAGES

SOCKETS = "LITTLEST_HUB_LAUNCH_SOCKETS"
"""Variable of the unit: the directory into which the sockets of the other programs are bound."""

if __name__ == "__main__":
    sockets = Path(os.environ[SOCKETS])
    serve(PAGES, place=Place(Path(), sockets / "resolver", sockets / "builder"))
