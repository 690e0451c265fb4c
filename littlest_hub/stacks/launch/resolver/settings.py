"""The administrator's permissions for the resolver: a file in JSON, which only root can change.

It is not part of a request: those come from the service, which strangers talk to.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.limits import Limits


@dataclass(frozen=True)
class Settings:
    """All settings of the resolver."""

    policy: Policy = field(default_factory=Policy)
    networks: tuple[str, ...] = ()
    """Networks that are not of the internet, and that may be connected to."""
    ca_file: str = ""
    """Certificate authorities beside the usual ones, such as that of a local GitLab."""
    pythons: tuple[str, ...] = (platform.python_version(),)
    """Versions of Python that are to be had without conda, the preferred one last: environments get
    that of the release, which runs this program too."""
    channels: dict[str, str] = field(default_factory=lambda: {**Channels().addresses})
    """Channels of conda that may be used, as in `Channels`; the same as for builds."""
    services: dict[str, str] = field(
        default_factory=lambda: {"doi": "https://doi.org", "figshare": "https://api.figshare.com"}
    )
    """Addresses of what says where a DOI leads, and of the API of figshare."""
    private: bool = True
    """Whether people may use names and passwords of their own."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        address.networks(self.networks)
        Channels(self.channels)
        for name in ("doi", "figshare"):
            found = self.services.get(name, "")
            if not found.startswith("https://") or found.endswith("/"):
                raise LittlestHubError(f"services, {name}: expected https://HOST, found {found!r}")
        if self.ca_file and not Path(self.ca_file).is_absolute():
            raise LittlestHubError(f"ca_file: expected an absolute path, found {self.ca_file!r}")


def read(file: Path) -> Settings:
    """Return the settings in a file; without one, the usual settings.

    Raises:
        LittlestHubError: it is damaged.
    """
    try:
        found = json.loads(file.read_text())
        policy = _known(Policy, found.pop("policy", {}))
        if not policy.get("https_only", True):
            raise ValueError("https_only: the resolver speaks https only")
        limits = Limits(**_known(Limits, found.pop("limits", {})))
        return Settings(**_known(Settings, found), policy=Policy(**policy), limits=limits)
    except FileNotFoundError:
        return Settings()
    except (ValueError, TypeError, AttributeError) as error:
        raise LittlestHubError(f"{file} is damaged: {error}") from None


def _known(kind: type[Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a class's fields, each of the type of the usual one."""
    usual = kind()
    values = {}
    names = {each.name for each in fields(kind)}
    for name, value in found.items():
        if name not in names:
            raise ValueError(f"{name!r} is no setting")
        expected = type(getattr(usual, name))
        given = tuple(value) if expected is tuple and isinstance(value, list) else value
        if expected is float and type(given) is int:
            given = float(given)
        if type(given) is not expected:
            raise ValueError(f"{name}: found {value!r}, expected {expected.__name__}")
        values[name] = given
    return values
