"""Rules of `check` about the logins of a class."""

from __future__ import annotations

from collections.abc import Iterator

from traitlets.config.loader import LazyConfigValue

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.stacks.classroom.logins import PASSWORD_LINK


def replaced_logins(settings: Settings) -> Iterator[Problem]:
    """Refuse a fragment that comes later and chooses other logins than the stack's fragment."""
    links = settings.section_value("Pages", "links")
    if isinstance(links, LazyConfigValue):
        links = links.get_value([])
    path = PASSWORD_LINK["path"]
    is_ours = any(isinstance(each, dict) and each.get("path") == path for each in links or ())
    if is_ours and not settings.uses("Authenticator", "PasswordLogin"):
        text = 'replaces the logins of the stack class; expected LOGIN = "other" in its fragment'
        yield from settings.get("JupyterHub", "authenticator_class").error(text)


def nobody_who_lets_people_in(settings: Settings) -> Iterator[Problem]:
    """Warn of sign-up without an administrator: nobody could approve anyone."""
    names = settings.get("Authenticator", "admin_users").value
    if settings.uses("Authenticator", "SignUp") and not names:
        text = 'people sign up, and nobody can let them in; expected ADMIN = "…" in 60-class.py'
        yield Problem(str(settings.layout.fragments), 0, text, is_warning=True)


def any_name_at_first_use(settings: Settings) -> Iterator[Problem]:
    """Warn if anybody may choose a password for any name."""
    setting = settings.get("Authenticator", "allow_all")
    if settings.uses("Authenticator", "FirstUse") and setting.value:
        text = "lets anyone in under any name that nobody has used; expected allowed_users = {…}"
        yield from setting.warning(text)
