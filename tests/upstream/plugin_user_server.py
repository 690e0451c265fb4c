"""pytest plugin: the modules of a user server, as `littlest_hub.singleuser` imports them."""

from __future__ import annotations

import sys
import warnings

from littlest_hub import singleuser

assert "jupyter_server.serverapp" not in sys.modules, "imported before it could be patched"
singleuser.check_versions()
with warnings.catch_warnings():
    # jupyter_server's suite makes warnings errors; those of other libraries' modules are not its.
    warnings.simplefilter("ignore")
    singleuser.prepare()
