"""Rules on how the hub reaches the proxy: systemd starts traefik, with addresses of its units."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.units.entry_points import API_ENTRY_POINT
from littlest_hub.units.environment import UnitEnvironment


def settings_that_the_proxys_units_decide(settings: Settings) -> Iterator[Problem]:
    """Refuse values other than those that the proxy's unit and its configuration have."""
    if not settings.uses("Proxy", "HubProxy"):
        return
    fixed = {
        "should_start": False,
        "traefik_api_url": f"http://{UnitEnvironment.from_environ().proxy_api}",
        "traefik_api_entrypoint": API_ENTRY_POINT,
        "enable_setup_dynamic_config": True,
        "dynamic_config_file": str(settings.layout.routes),
        # Made from the password.
        "traefik_api_hashed_password": None,
    }
    for key, value in fixed.items():
        setting = settings.get("Proxy", key)
        is_url = str(setting.value).startswith(("http:", "https:"))
        # The class itself refuses a URL without them.
        if setting.value != value and (is_url or key != "traefik_api_url"):
            yield from setting.error(
                "the hub could not reach the proxy; expected no such setting, found"
                f" {setting.value!r}. Addresses: change ListenStream= of the socket unit"
            )


def internal_ssl(settings: Settings) -> Iterator[Problem]:
    """Refuse encryption between hub, proxy and servers, which the proxy does not have."""
    setting = settings.get("JupyterHub", "internal_ssl")
    if setting.value and settings.uses("Proxy", "HubProxy"):
        yield from setting.error(
            "the proxy reaches hub and servers of this machine by http only, so every page would"
            " fail; expected no such setting. For https to visitors:"
            f" {settings.layout.command} enable https"
        )


def too_little_time_for_routes(settings: Settings) -> Iterator[Problem]:
    """Refuse a time limit within which traefik cannot load its routes."""
    setting = settings.get("Proxy", "check_route_timeout")
    if isinstance(setting.value, int) and setting.value < 1:
        yield from setting.error(f"expected 1 second or more, found {setting.value}")
