"""A real JupyterHub as `tests/unit/hub/small_hub.py`, with the pages of a class.

`python class_hub.py PORT DIRECTORY`: files of the installation are below DIRECTORY.
"""

from __future__ import annotations

from littlest_hub import installation
from littlest_hub.hub.app import LittlestHub
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom import logins, page
from littlest_hub.stacks.classroom.accounts import client
from littlest_hub.stacks.classroom.accounts import hub as accounts
from littlest_hub.stacks.classroom.logins import authenticators, people
from tests.unit.hub.small_hub import DIRECTORY, c
from tests.unit.stacks.classroom.page.class_site import BASE, GROUPS, address_of

layout = Layout(BASE, root=DIRECTORY)
file = layout.on_disk(people.file_of(layout))
for module, name, value in (
    (installation, "of_this_release", lambda: layout),
    (client, "address_of", address_of),
    (authenticators, "file_of", lambda _: file),
):
    setattr(module, name, value)

c.JupyterHub.db_url = f"sqlite:///{DIRECTORY}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{DIRECTORY}/cookie_secret"
del c.JupyterHub.authenticator_class
c.Authenticator.allow_all = False
c.JupyterHub.load_groups = GROUPS
logins.configure(c, logins.SIGN_UP, "alice")
accounts.configure(c)
page.configure(c)

if __name__ == "__main__":
    LittlestHub.instance(loaded_config=c, layout=layout).launch_instance([])
