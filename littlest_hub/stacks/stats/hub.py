"""The hub's part of the stack, as its fragment configures it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from traitlets.config import Config

from littlest_hub import installation
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import give_everybody, stack_service
from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.stats.values import Values

STACK = "stats"
FAILURES_PATH = "api/stats/failures"
"""Path of the failed starts below the hub's prefix."""
FAILURES_SCOPE = "custom:stats:failures"
ENVIRONMENTS_PATH = "api/stats/environments"
"""Path of the environments that servers run with, below the hub's prefix."""
ENVIRONMENTS_SCOPE = "custom:stats:environments"
PROMETHEUS = "stats-prometheus"
"""The service whose token Prometheus has."""
_ACCESS = f"access:services!service={STACK}"
_SCOPES = (
    "read:metrics",
    "list:users",
    # Groups, the last activity, and when somebody became a user: a namesake inherits no figures.
    "read:users",
    "read:servers",
    f"read:services!service={STACK}",
    FAILURES_SCOPE,
    ENVIRONMENTS_SCOPE,
)


def configure(c: Config, variables: Mapping[str, Any]) -> None:
    """Let the service read what it counts, and let people see their figures.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    values = record_of(variables, Values)
    if values.problems():
        values = Values()  # `check` reports them with their lines
    c.JupyterHub.services.append(
        # The bar has a link already.
        stack_service(STACK, oauth_no_confirm=True, info=values.to_json(), display=False)
    )
    about = {
        FAILURES_SCOPE: "Read why servers of people did not start",
        ENVIRONMENTS_SCOPE: "Read which environments servers run with",
    }
    scopes = {scope: {"description": text} for scope, text in about.items()}
    c.JupyterHub.custom_scopes.update(scopes)
    c.JupyterHub.load_roles.append(
        {
            "name": "stats-service",
            "description": "Count people and servers",
            "scopes": [*_SCOPES],
            "services": [STACK],
        }
    )
    give_everybody(c, _ACCESS)
    page = "littlest_hub.stacks.stats.hub_page"
    c.Pages.handlers.update(
        {FAILURES_PATH: f"{page}:FailedStarts", ENVIRONMENTS_PATH: f"{page}:Environments"}
    )
    c.Pages.links.append({"text": "Statistics", "path": f"services/{STACK}/", "scope": _ACCESS})
    if values.prometheus:
        _let_prometheus_read(c)


def prometheus_token(layout: Layout) -> str:
    """Return the token of Prometheus, which follows from that of the service.

    Raises:
        OSError: the service's token cannot be read.
    """
    secret = layout.on_disk(layout.stack_token(STACK)).read_text().strip()
    return hmac.new(secret.encode(), PROMETHEUS.encode(), hashlib.sha256).hexdigest()


def _let_prometheus_read(c: Config) -> None:
    token = prometheus_token(installation.of_this_release())
    service = {"name": PROMETHEUS, "api_token": token, "display": False}
    c.JupyterHub.services.append(service)
    c.JupyterHub.load_roles.append(
        {
            "name": PROMETHEUS,
            "description": "Read the hub's metrics",
            "scopes": ["read:metrics"],
            "services": [PROMETHEUS],
        }
    )
