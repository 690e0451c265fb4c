"""Rules on services, roles, groups and scopes."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from littlest_hub.check.report import Problem
from littlest_hub.check.rules.addresses import program_at, split_url
from littlest_hub.check.settings import EffectiveSetting, Settings, strings
from littlest_hub.check.suggestions import did_you_mean

_ROLE_FIELDS = ("name", "description", "scopes", "users", "services", "groups")
_GROUP_FIELDS = ("users", "properties")


def conflicting_services(settings: Settings) -> Iterator[Problem]:
    """Refuse names or ports that occur twice, missing names, and unknown or invalid fields."""
    setting = settings.get("JupyterHub", "services")
    services = setting.dicts()
    names, ports = Counter(s.get("name") for s in services), Counter(map(_port, services))
    for service in services:
        name = service.get("name")
        if not name:
            # Names of fields only: the value of api_token is a secret.
            text = f"found a service without a name ({', '.join(map(str, service))});"
            yield from setting.error(f"{text} expected {{'name': …}}", service)
            continue
        what = f"service {name!r}"
        if names[name] > 1:
            yield from setting.error(
                f"{what} is defined {names[name]} times; expected once", service
            )
            names[name] = 0
        port = _port(service)
        if port and ports[port] > 1:
            yield from setting.error(f"{ports[port]} services use port {port}", service)
            ports[port] = 0
        for text in _invalid_service_fields(service):
            yield from setting.error(f"{what}: {text}", service)
        if service.get("admin"):
            text = f"{what}: admin is deprecated since JupyterHub 2; expected a role in load_roles"
            yield from setting.warning(text, service)
        scopes = service.get("oauth_client_allowed_scopes")
        yield from _unknown_scopes(setting, scopes, what, service, settings)


def _invalid_service_fields(service: dict[str, Any]) -> Iterator[str]:
    from jupyterhub.services.service import Service

    traits = Service.class_traits(input=True)
    url = service.get("url")
    if isinstance(url, str) and url and not url.startswith(("http://", "https://")):
        yield f"expected a url with http:// or https://, found {url!r}"
    elif isinstance(url, str) and url and (parts := split_url(url)) and not parts.hostname:
        yield f"expected a url with a host, such as http://127.0.0.1:9000, found {url!r}"
    for key, value in service.items():
        if key not in traits:
            yield f"there is no field {key!r}{did_you_mean(key, traits)}"
            continue
        try:
            traits[key]._validate(Service.__new__(Service), value)
        except Exception as error:
            reason = " ".join(str(error).split()).partition(" instance ")[2] or str(error)
            yield f"{key}: {reason}"


def _port(service: dict[str, Any]) -> int | None:
    url = service.get("url")
    parts = split_url(url) if isinstance(url, str) else None
    return parts.port if parts else None


def conflicting_roles(settings: Settings) -> Iterator[Problem]:
    """Refuse names that occur twice, and unknown scopes, fields and services."""
    setting = settings.get("JupyterHub", "load_roles")
    services = {s.get("name") for s in settings.get("JupyterHub", "services").dicts()}
    roles = setting.dicts()
    names = Counter(role.get("name") for role in roles)
    for role in roles:
        name = role.get("name")
        if not isinstance(name, str) or not name:
            text = f"found a role without a name ({role!r}); expected {{'name': …}}"
            yield from setting.error(text, role)
            continue
        what = f"role {name!r}"
        if names[name] > 1:
            yield from setting.error(f"{what} is defined {names[name]} times; expected once", role)
            names[name] = 0
        for text in (*_invalid_role_name(role), *_invalid_role_fields(role)):
            yield from setting.error(f"{what}: {text}", role)
        for service in strings(role.get("services")):
            if service not in services:
                hint = did_you_mean(service, [str(name) for name in services])
                yield from setting.error(f"{what}: there is no service {service!r}{hint}", role)
        yield from _unknown_scopes(setting, role.get("scopes"), what, role, settings)


def _invalid_role_name(role: dict[str, Any]) -> Iterator[str]:
    from jupyterhub.roles import _validate_role_name, get_default_roles

    name = role["name"]
    default_scopes = {default["name"]: default["scopes"] for default in get_default_roles()}
    if name not in default_scopes:
        try:
            _validate_role_name(name)
        except Exception as error:
            yield " ".join(str(error).split())
    elif name == "admin" and role.get("scopes", default_scopes[name]) != default_scopes[name]:
        yield "its scopes cannot be changed"


def _invalid_role_fields(role: dict[str, Any]) -> Iterator[str]:
    for key in role.keys() - _ROLE_FIELDS:
        yield f"there is no field {key!r}{did_you_mean(str(key), _ROLE_FIELDS)}"
    for key in ("scopes", "users", "services", "groups"):
        if isinstance(role.get(key), str):
            yield f"expected a list of {key}, found {role[key]!r}"


def malformed_groups(settings: Settings) -> Iterator[Problem]:
    """Refuse groups in an unknown form, and warn of the deprecated one."""
    setting = settings.get("JupyterHub", "load_groups")
    if not isinstance(setting.value, dict):
        return
    for item in setting.value.items():
        name, group = item
        what = f"group {name!r}"
        if isinstance(group, list):
            text = f"{what}: a list is deprecated since JupyterHub 3.2; expected"
            yield from setting.warning(f"{text} {{'users': {group!r}}}", item)
        elif not isinstance(group, dict):
            yield from setting.error(f"{what}: expected {{'users': […]}}, found {group!r}", item)
        else:
            for key in group.keys() - _GROUP_FIELDS:
                hint = did_you_mean(str(key), _GROUP_FIELDS)
                yield from setting.error(f"{what}: there is no field {key!r}{hint}", item)
            if isinstance(group.get("users"), str):
                text = f"{what}: expected a list of users, found {group['users']!r}"
                yield from setting.error(text, item)


def unknown_scopes(settings: Settings) -> Iterator[Problem]:
    """Refuse unknown scopes in settings other than roles and services."""
    for role, key in (
        ("JupyterHub", "extra_user_scopes"),
        ("Spawner", "oauth_client_allowed_scopes"),
        ("Spawner", "server_token_scopes"),
    ):
        setting = settings.get(role, key)
        if isinstance(setting.value, list):
            for scope in setting.value:
                yield from _unknown_scopes(setting, [scope], "", scope, settings)


def _unknown_scopes(
    setting: EffectiveSetting, scopes: object, what: str, element: Any, settings: Settings
) -> Iterator[Problem]:
    from jupyterhub.scopes import _check_scopes_exist, scope_definitions

    custom = settings.get("JupyterHub", "custom_scopes").value
    custom = custom if isinstance(custom, dict) else {}
    for scope in strings(scopes):
        name = scope.partition("!")[0]
        if name in custom:
            continue
        try:
            _check_scopes_exist([scope])
        except Exception as error:
            is_known = name in scope_definitions
            hint = "" if is_known else did_you_mean(name, [*scope_definitions, *custom])
            reason = str(error) if is_known else f"there is no scope {scope!r}"
            start = f"{what}: " if what else ""
            yield from setting.error(f"{start}{reason}{hint}", element)


def services_that_cannot_start(settings: Settings) -> Iterator[Problem]:
    """Warn of services whose user, directory, program or port the hub's unit cannot have."""
    setting = settings.get("JupyterHub", "services")
    for service in setting.dicts():
        command = service.get("command")
        words = command if isinstance(command, list) else [command]
        reason = ""
        if command and all(isinstance(word, str) for word in words):
            reason = _why_not_started(service, str(words[0]))
        port = _port(service)
        if command and not reason and port:
            host = urlsplit(service["url"]).hostname or ""
            program = program_at(settings, host, port)
            reason = f"port {port} is in use by {program}" if program else ""
        if reason:
            text = f"service {service.get('name')!r} cannot start: {reason}; the hub would serve"
            yield from setting.warning(f"{text} without it", service)


def _why_not_started(service: dict[str, Any], program: str) -> str:
    """Try the steps of starting a service, in a child process; return why one fails."""
    # Before the fork: the child would wait forever for another thread that is importing it.
    from jupyterhub.spawner import set_user_setuid

    user, directory = service.get("user"), service.get("cwd")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        reason = ""
        try:
            _enter(user, directory, set_user_setuid)
            if not shutil.which(program):
                reason = f"there is no program {program} that {user or 'the hub'} may execute"
        except BaseException as error:
            reason = str(error)
        os.write(writing, reason.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as end:
        reason = end.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return reason


def _enter(user: Any, directory: Any, set_user: Callable[..., Callable[[], None]]) -> None:
    """Become a service's user in its directory, as JupyterHub does.

    Args:
        user: the user's name; None: the hub's own user.
        directory: the service's `cwd`; None: the hub's own directory.
        set_user: JupyterHub's function that returns another, which changes the user.

    Raises:
        RuntimeError: why that fails.
    """
    if directory:
        try:
            os.chdir(directory)
        except OSError as error:
            raise RuntimeError(f"the hub cannot enter {directory} ({error.strerror})") from error
    if user:
        try:
            set_user(user, chdir=False)()
        except KeyError as error:
            raise RuntimeError(f"this machine has no user {user!r}") from error
        except OSError as error:
            raise RuntimeError(
                f"the hub's unit may not become {user} ({error.strerror}); run the program in a"
                " unit of its own, with User=, and leave only the service's url and api_token here"
            ) from error
