"""needrestart(1), which Debian and Ubuntu run after upgrades of libraries, and user servers.

It restarts services that use replaced libraries, as a default of Ubuntu's without a question; a
user server would lose its kernels. Hub, proxy and guard lose nothing. dnf and zypper only list such
services (`dnf needs-restarting`, `zypper ps`), and unattended-upgrades leaves them to needrestart.
"""

from __future__ import annotations

import re

from littlest_hub.layout import Layout


def needrestart_config(layout: Layout) -> str:
    """Return the file in Perl that keeps needrestart from restarting user servers by itself."""
    # Perl takes "@name" in an expression for an array.
    servers = re.escape(f"{layout.instance}.user")
    journal = re.escape(f"systemd-journald@{layout.log_namespace}").replace("@", r"\@")
    return f"""\
# Written by `littlest-hub install`, removed by `littlest-hub uninstall`.
# A restart of a user server ends the notebooks that run in it. So needrestart lists it as deferred.
$nrconf{{override_rc}}{{qr(^{servers}[-\\@])}} = 0;
$nrconf{{override_rc}}{{qr(^{journal}\\.)}} = 0;
"""
