"""Rules on who may log in."""

from __future__ import annotations

import codecs
import grp
import os
import pwd
from collections.abc import Callable, Iterator
from typing import Any

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.helpers.hooks import ADD_USER, BUILT_IN

CREATE = "create_system_users"


def unknown_encoding(settings: Settings) -> Iterator[Problem]:
    """Refuse an encoding of passwords with which every login would fail."""
    setting = settings.get("Authenticator", "encoding")
    try:
        codecs.lookup(setting.value if isinstance(setting.value, str) else "utf8")
    except LookupError:
        yield from setting.error(f"expected an encoding such as 'utf8', found {setting.value!r}")


def no_one_may_log_in(settings: Settings) -> Iterator[Problem]:
    """Warn if no setting lets any user in."""
    if not settings.facts.is_service:
        return  # `littlest-hub run` lets its owner in
    cls = settings.chosen["Authenticator"]
    if cls.__name__ == "NullAuthenticator" or settings.get("JupyterHub", "admin_users").value:
        return
    keys = [name for name in cls.class_traits(config=True) if _lets_users_in(name)]
    if any(settings.get("Authenticator", key).value for key in keys):
        return
    yield Problem(
        str(settings.layout.fragments),
        0,
        'no one may log in; expected c.Authenticator.allowed_users = {"alice"}, or admin_users,'
        " or allow_all = True, in one of the fragments",
        is_warning=True,
    )


def _lets_users_in(key: str) -> bool:
    return key.startswith(("allow", "any_allow")) or key == "admin_users"


def administrators_who_may_not_log_in(settings: Settings) -> Iterator[Problem]:
    """Warn of groups of administrators that are not allowed to log in."""
    if settings.get("Authenticator", "allow_all").value:
        return
    allowed = set(settings.get("Authenticator", "allowed_groups").value or ())
    setting = settings.get("Authenticator", "admin_groups")
    for name in sorted(set(setting.value or ()) - allowed):
        text = f"does not let members of {name!r} log in; expected {name!r} in allowed_groups too"
        yield from setting.warning(text, name)


def user_names_that_the_pattern_rejects(settings: Settings) -> Iterator[Problem]:
    """Refuse names that Authenticator.username_pattern rejects: the hub would not start."""
    cls: Any = settings.chosen["Authenticator"]
    authenticator = cls.__new__(cls)
    pattern = settings.get("Authenticator", "username_pattern")
    authenticator.username_pattern = pattern.value
    for setting, name in _named_users(settings):
        if not isinstance(name, str):
            yield from setting.error(f"expected names, found {name!r}", name)
        elif not authenticator.validate_username(authenticator.normalize_username(name)):
            text = f"{name!r} is not a valid user name; expected {pattern.value} ({pattern.name})"
            yield from setting.error(text, name)


def string_used_as_a_set_of_names(settings: Settings) -> Iterator[Problem]:
    """Refuse set("alice"), which is a set of letters."""
    for key in ("allowed_users", "admin_users", "blocked_users"):
        setting = settings.get("Authenticator", key)
        letters = sorted(name for name in setting.value or () if len(str(name)) == 1)
        if len(letters) > 1:
            yield from setting.error(
                f"found the single letters {''.join(letters)!r}; expected names, such as"
                ' {"alice"}: set("alice") and update("alice") are sets of letters',
                letters[0],
            )


def users_without_a_system_account(settings: Settings) -> Iterator[Problem]:
    """Warn of names that PAM cannot authenticate and no server can run as."""
    if not _uses_system_users(settings):
        return
    if settings.get("Authenticator", CREATE).value:
        return
    for setting, name in _named_users(settings):
        if isinstance(name, str) and not _exists(pwd.getpwnam, name):
            text = f"this machine has no user {name!r}; expected one of its accounts"
            yield from setting.warning(text, name)


def accounts_that_no_password_opens(settings: Settings) -> Iterator[Problem]:
    """Warn of named users whose account is locked, expired, or without a password."""
    if not settings.uses("Authenticator", "PAMAuthenticator"):
        return
    for setting, name in _named_users(settings):
        if unusable := settings.facts.unusable_passwords.get(str(name)):
            text = (
                f"the account {name!r} {unusable.reason}, so nobody can log in as {name};"
                f" {unusable.command}"
            )
            yield from setting.warning(text, name)


def unknown_system_groups(settings: Settings) -> Iterator[Problem]:
    """Warn of groups that do not exist, and so let no one in."""
    if not settings.uses("Authenticator", "LocalAuthenticator"):
        return
    for key in ("allowed_groups", "admin_groups"):
        setting = settings.get("Authenticator", key)
        for name in setting.value or ():
            if not _exists(grp.getgrnam, name):
                yield from setting.warning(f"this machine has no group {name!r}", name)


def pam_without_normalized_names(settings: Settings) -> Iterator[Problem]:
    """Warn of JupyterHub's own PAM authenticator, see `littlest_hub.hub.authenticator`."""
    if settings.chosen["Authenticator"].__name__ == "PAMAuthenticator":
        yield from settings.get("JupyterHub", "authenticator_class").warning(
            "checks the name with PAM as it was typed, but logs in the lower-case name, which may"
            " be another account; expected no authenticator_class: the default uses PAM safely"
        )


def accounts_created_by_a_command(settings: Settings) -> Iterator[Problem]:
    """Refuse commands that create accounts: the hub's sandbox does not permit any."""
    if not settings.facts.is_service or not settings.get("Authenticator", CREATE).value:
        return
    program = settings.layout.root_hooks / ADD_USER
    for key in ("add_user_cmd", "uids"):
        yield from settings.get("Authenticator", key).error(
            "the hub's sandbox permits no such command, and root takes none from the hub;"
            f" expected the program {program}, which gets the user's name, or no such line, for"
            f" `{' '.join(BUILT_IN[ADD_USER])}`"
        )


def auth_state_without_a_key(settings: Settings) -> Iterator[Problem]:
    """Refuse enable_auth_state without an encryption key: the hub would not start."""
    setting = settings.get("Authenticator", "enable_auth_state")
    keys = settings.section_value("CryptKeeper", "keys") or os.environ.get("JUPYTERHUB_CRYPT_KEY")
    if setting.value and not keys:
        yield from setting.error(
            "needs an encryption key; expected c.CryptKeeper.keys = [32 bytes], or"
            " JUPYTERHUB_CRYPT_KEY in the environment of the hub's unit"
        )


def groups_or_roles_from_two_sources(settings: Settings) -> Iterator[Problem]:
    """Refuse groups or roles in the configuration that the authenticator manages."""
    groups = settings.get("JupyterHub", "load_groups")
    if settings.get("Authenticator", "manage_groups").value and groups.value:
        yield from groups.error("the authenticator manages groups (manage_groups); expected none")
    roles = settings.get("JupyterHub", "load_roles")
    if settings.get("Authenticator", "manage_roles").value:
        for role in roles.dicts():
            if role.get("users") or role.get("groups"):
                text = f"role {role.get('name')!r}: the authenticator assigns roles (manage_roles)"
                yield from roles.error(text, role)


def _named_users(settings: Settings) -> Iterator[tuple[EffectiveSetting, Any]]:
    for key in ("allowed_users", "admin_users"):
        setting = settings.get("Authenticator", key)
        if isinstance(setting.value, (set, list, tuple)):
            for name in sorted(setting.value, key=str):
                yield setting, name


def _uses_system_users(settings: Settings) -> bool:
    return (
        settings.facts.is_service
        and settings.uses("Authenticator", "LocalAuthenticator")
        and settings.uses("Spawner", "SystemdSpawner")
        and not settings.get("Spawner", "dynamic_users").value
    )


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    except OSError:
        return True  # unknown: the source of names does not answer
    return True
