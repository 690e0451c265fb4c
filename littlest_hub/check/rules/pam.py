"""Rules on PAM: the service, and modules in it that cannot work for visitors of a web page.

Modules run in the hub's helper (`littlest_hub.helpers.pam`) with the rights of login(1), so the
hub's sandbox is no obstacle to them. But a module may not be installed, may need someone at the
machine, or may need an answer that the login page does not ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings

_SERVICES = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/share/pam.d"))
_MODULES = ("lib/security", "lib64/security", "lib/*-linux-gnu/security")
_FOR_A_DEVICE = {"pam_fprintd.so", "pam_u2f.so", "pam_pkcs11.so", "pam_p11.so"}
_FOR_A_CODE = {"pam_google_authenticator.so", "pam_oath.so"}


class _Module(NamedTuple):
    """A line of a PAM service that authenticates, pam.conf(5)."""

    path: str
    arguments: tuple[str, ...]
    is_required: bool
    """Whether nobody may log in if it is missing."""
    place: str
    """FILE:LINE"""

    @property
    def name(self) -> str:
        return Path(self.path).name


def unknown_pam_service(settings: Settings) -> Iterator[Problem]:
    """Refuse a PAM service that does not exist: PAM would use "other", which refuses all users."""
    setting = settings.get("Authenticator", "service")
    if not settings.uses("Authenticator", "PAMAuthenticator"):
        return
    name = setting.value
    if isinstance(name, str) and not any((each / name).exists() for each in _SERVICES):
        yield from setting.error(f"there is no PAM service {name!r} in /etc/pam.d")


def pam_modules_that_cannot_work(settings: Settings) -> Iterator[Problem]:
    """Warn of modules with which PAM refuses a right password."""
    if not (settings.facts.is_service and settings.uses("Authenticator", "PAMAuthenticator")):
        return
    service = settings.get("Authenticator", "service")
    asks_for_code = bool(settings.get("Authenticator", "request_otp").value)
    for module in _modules(str(service.value)):
        if reason := _obstacle(module, asks_for_code=asks_for_code):
            text = f"{module.name} ({module.place}) {reason}"
            yield from service.warning(text) or [
                Problem(str(settings.layout.fragments), 0, text, is_warning=True)
            ]


def _obstacle(module: _Module, *, asks_for_code: bool) -> str:
    """Return why a module cannot work, and what is expected instead; "": it can work."""
    if module.name in _FOR_A_DEVICE:
        return (
            "asks for a device at the machine, and so cannot work over the web; expected"
            " c.PAMAuthenticator.service = the name of a PAM service without it"
        )
    if module.name in _FOR_A_CODE and not asks_for_code and "forward_pass" not in module.arguments:
        return (
            "asks for a one-time password, and the login page has no field for it; expected"
            " c.Authenticator.request_otp = True"
        )
    if module.is_required and not _is_installed(module):
        return "is not installed, so PAM refuses everyone; expected its package, or no such line"
    return ""


def _is_installed(module: _Module) -> bool:
    if Path(module.path).is_absolute():
        return Path(module.path).exists()
    roots = (Path("/"), Path("/usr"))
    directories = [each for root in roots for pattern in _MODULES for each in root.glob(pattern)]
    # If there is none of these directories, this distribution keeps its modules elsewhere.
    return not directories or any((each / module.path).exists() for each in directories)


def _modules(service: str, seen: frozenset[str] = frozenset()) -> Iterator[_Module]:
    """Yield the modules that authenticate in a PAM service, those of included files too."""
    file = next((d / service for d in _SERVICES if (d / service).is_file()), None)
    if file is None or service in seen:
        return
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        words = re.sub(r"\[.*?\]", "[]", line.partition("#")[0]).split()
        if words[:1] == ["@include"] or words[1:2] in (["include"], ["substack"]):
            yield from _modules(words[-1], seen | {service})
        elif len(words) > 2 and words[0].lstrip("-") == "auth":
            # "-": a missing module is skipped. In "[]" it may be ignored.
            is_required = words[0] == "auth" and words[1] in ("required", "requisite")
            yield _Module(words[2], tuple(words[3:]), is_required, f"{file}:{number}")
