"""`python -m littlest_hub.stacks.stats.pages` serves the pages; their socket starts it."""

from __future__ import annotations

from littlest_hub.service.web import serve
from littlest_hub.stacks.stats.pages.page import ROUTES

if __name__ == "__main__":
    serve(ROUTES)
