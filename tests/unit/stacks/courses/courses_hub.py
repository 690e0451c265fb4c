"""A real JupyterHub as `tests/unit/hub/small_hub.py`, with the page of courses.

`python courses_hub.py PORT DIRECTORY`: files of the installation are below DIRECTORY.
"""

from __future__ import annotations

from littlest_hub.hub.app import LittlestHub
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.hub import PAGES
from tests.unit.hub.small_hub import DIRECTORY, c
from tests.unit.stacks.courses.page_site import BASE

c.JupyterHub.db_url = f"sqlite:///{DIRECTORY}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{DIRECTORY}/cookie_secret"
c.JupyterHub.template_paths = [str(place.RELEASE_FILES / "templates")]
c.Pages.handlers.update(PAGES)
c.Authenticator.admin_users = {"boss"}

if __name__ == "__main__":
    layout = Layout(BASE, root=DIRECTORY)
    LittlestHub.instance(loaded_config=c, layout=layout).launch_instance([])
