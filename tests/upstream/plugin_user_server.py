"""pytest plugin: the modules of a user server, as `littlest_hub.singleuser` imports them."""

from __future__ import annotations

import sys

from littlest_hub import singleuser

assert "jupyter_server.serverapp" not in sys.modules, "imported before it could be patched"
singleuser.check_versions()
singleuser.prepare()
