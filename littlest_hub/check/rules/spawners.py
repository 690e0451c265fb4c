"""Rules on user servers, and on the programs that hub and proxy start."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from traitlets import TraitError

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.helpers.hooks import BUILT_IN, HOOK_NAME, unsafe
from littlest_hub.hub.launch import CONTROL_CHARACTER
from littlest_hub.hub.root_hooks import RootHook

_SMALLEST_SERVER_BYTES = 128 << 20
_RUN_AS_OTHERS = ("runuser", "sudo", "su", "setpriv", "doas")
# Settings that root's unit of a server decides in their place, and the directive that does so.
_DIRECTIVES = {
    "mem_limit": "MemoryMax=",
    "cpu_limit": "CPUQuota=",
    "isolate_tmp": "PrivateTmp=",
    "isolate_devices": "PrivateDevices=",
    "disable_user_sudo": "NoNewPrivileges=",
    "readonly_paths": "ReadOnlyPaths=",
    "readwrite_paths": "ReadWritePaths=",
    "slice": "Slice=",
    "unit_extra_properties": "these properties",
    "unit_name_template": "",
    "username_template": "",
    "dynamic_users": "",
}


def environment_values_that_are_not_text(settings: Settings) -> Iterator[Problem]:
    """Refuse values that stop every server from starting."""
    setting = settings.get("Spawner", "environment")
    for item in setting.value.items() if isinstance(setting.value, dict) else ():
        name, value = item
        if not isinstance(value, str) and not callable(value):
            kind = type(value).__name__
            yield from setting.error(f"{name}: expected text or a function, found {kind}", item)
        elif isinstance(value, str) and (found := CONTROL_CHARACTER.search(value)):
            text = f"{name}: contains {found[0]!r}; expected no control characters"
            yield from setting.error(text, item)


def guarantees_above_limits(settings: Settings) -> Iterator[Problem]:
    """Refuse guarantees of memory or processors that exceed the limit."""
    for kind in ("mem", "cpu"):
        limit, guarantee = (settings.get("Spawner", f"{kind}_{w}") for w in ("limit", "guarantee"))
        try:
            most, least = (_amount(settings, setting) for setting in (limit, guarantee))
        except Exception:
            continue  # reported already
        if most and least and least > most:
            text = f"{guarantee.value!r} is more than {limit.name} ({limit.value!r})"
            yield from (guarantee.error(text) or limit.error(text))


def memory_limit_too_small(settings: Settings) -> Iterator[Problem]:
    """Warn of a memory limit without a unit, which counts bytes."""
    setting = settings.get("Spawner", "mem_limit")
    try:
        size_bytes = _amount(settings, setting)
    except Exception:
        return  # reported already
    if size_bytes and size_bytes < _SMALLEST_SERVER_BYTES:
        yield from setting.warning(
            f"{setting.value!r} is {size_bytes:.0f} bytes, too little for a server; expected text"
            " with a unit, such as '2G'"
        )


def _amount(settings: Settings, setting: EffectiveSetting) -> float | None:
    cls: Any = settings.chosen["Spawner"]
    value = cls.class_traits()[setting.key]._validate(cls.__new__(cls), setting.value)
    return value if isinstance(value, (int, float)) else None


def missing_programs(settings: Settings) -> Iterator[Problem]:
    """Refuse commands of servers or of the proxy that do not exist."""
    if settings.uses("Spawner", "SystemdSpawner"):
        command = settings.get("Spawner", "cmd")
        words = [command.value] if isinstance(command.value, str) else command.value
        if command.origin and words and isinstance(words[0], str):
            yield from _missing_program(command, words[0])
        shell = settings.get("Spawner", "default_shell")
        if shell.origin and isinstance(shell.value, str):
            yield from _missing_program(shell, shell.value)
    if settings.uses("Proxy", "ConfigurableHTTPProxy"):
        program = settings.get("Proxy", "command").value or ["configurable-http-proxy"]
        if not shutil.which(program[0]):
            yield from settings.get("JupyterHub", "proxy_class").error(
                f"{program[0]} is not installed; expected no proxy_class, for the default proxy"
            )


def _missing_program(setting: EffectiveSetting, program: str) -> Iterator[Problem]:
    if "{" in program or "~" in program or program.startswith(("/home", "/root")):
        return  # depends on the user, or the sandbox hides it
    if program.startswith("/") and not os.access(program, os.X_OK):
        yield from setting.error(f"there is no program {program}")
    elif not program.startswith("/"):
        text = f"systemd searches its own PATH for {program!r}; expected an absolute path"
        yield from setting.warning(text)


def settings_that_need_root(settings: Settings) -> Iterator[Problem]:
    """Refuse settings that an unprivileged hub cannot apply."""
    layout = settings.layout
    if not layout.hub_user:
        return
    who = f"this hub runs as {layout.hub_user}, not as root"
    if settings.uses("Authenticator", "PAMAuthenticator"):
        yield from settings.get("Authenticator", "service").error(
            f"{who}, and its PAM helper uses the service `login` only; expected no such line"
        )
    if not settings.uses("Spawner", "SystemdSpawner"):
        return
    if not settings.uses("Spawner", "TemplateSpawner"):
        yield from settings.get("JupyterHub", "spawner_class").error(
            f"{who}, and may not create units; expected no spawner_class"
        )
        return
    for key, directive in _DIRECTIVES.items():
        instead = (
            f"systemctl edit {layout.user_template_unit}, with {directive}" if directive else ""
        )
        yield from settings.get("Spawner", key).error(
            f"{who}, and cannot apply this; expected {instead or 'no such line'}"
        )


def unusable_root_hooks(settings: Settings) -> Iterator[Problem]:
    """Refuse root's hooks whose program is missing, or not only root's."""
    for key in ("pre_spawn_hook", "post_stop_hook"):
        setting = settings.get("Spawner", key)
        if not isinstance(setting.value, RootHook):
            continue
        name = str(setting.value.name)
        program = settings.layout.root_hooks / name
        if not re.fullmatch(HOOK_NAME, name):
            yield from setting.error(f"expected the name of a hook ({HOOK_NAME}), found {name!r}")
        elif program.exists():
            if refusal := unsafe(program):
                yield from setting.error(f"{program}: {refusal}")
        elif name not in BUILT_IN:
            yield from setting.error(
                f"there is no program {program}, and no built-in hook of that name;"
                f" built in: {', '.join(sorted(BUILT_IN))}"
            )


def commands_as_other_users(settings: Settings) -> Iterator[Problem]:
    """Refuse batchspawner's commands as the user if the hub's unit does not permit them."""
    setting = settings.get("Spawner", "exec_prefix")
    is_permitted = settings.layout.hub_user is None and settings.facts.rights.can_become_others
    if not isinstance(setting.value, str) or is_permitted:
        return
    program = Path((setting.value.split() or [""])[0]).name
    if program in _RUN_AS_OTHERS:
        # The prefix may be the spawner's default.
        blamed = setting if setting.origin else settings.get("JupyterHub", "spawner_class")
        yield from blamed.error(
            f"{program} runs commands as other users, which the hub's unit does not permit;"
            " expected a drop-in that does (CapabilityBoundingSet=CAP_SETUID CAP_SETGID and"
            f" PrivateUsers=no), or, for Slurm, `{settings.layout.command} enable slurm`"
        )


def default_url_without_a_slash(settings: Settings) -> Iterator[Problem]:
    """Warn of a first page whose path is not absolute."""
    setting = settings.get("Spawner", "default_url")
    url = setting.value
    if isinstance(url, str) and url and not url.startswith(("/", "{")) and "://" not in url:
        yield from setting.warning(f"expected a path such as '/{url}', found {url!r}")


def working_directory_with_a_tilde(settings: Settings) -> Iterator[Problem]:
    """Refuse "~" in a working directory, which systemd does not expand."""
    setting = settings.get("Spawner", "user_workingdir")
    if isinstance(setting.value, str) and setting.value.startswith("~"):
        text = f"expected an absolute path such as '/home/{{USERNAME}}', found {setting.value!r}"
        yield from setting.error(text)


def shared_account_that_does_not_exist(settings: Settings) -> Iterator[Problem]:
    """Refuse a template without a user's name that names no account: no server could start."""
    setting = settings.get("Spawner", "username_template")
    name = setting.value
    if not isinstance(name, str) or "{" in name or settings.get("Spawner", "dynamic_users").value:
        return
    try:
        pwd.getpwnam(name)
    except KeyError:
        text = f"there is no account {name!r}; expected {{USERNAME}} in it, or an account's name"
        yield from setting.error(text)


def overrides_that_cannot_be_applied(settings: Settings) -> Iterator[Problem]:
    """Refuse overrides for a group with which no server of its members could start."""
    setting = settings.get("Spawner", "group_overrides")
    for item in setting.value.items() if isinstance(setting.value, dict) else ():
        if fault := _override_fault(settings.chosen["Spawner"], item[1]):
            yield from setting.error(f"{item[0]}: {fault}", item)


def _override_fault(spawner_class: Any, override: object) -> str | None:
    """Return why JupyterHub cannot apply an override for a group; None if it can."""
    if not isinstance(override, dict) or not {"groups", "spawner_override"} <= override.keys():
        return f"expected a dictionary with groups and spawner_override, found {override!r}"
    groups, values = override["groups"], override["spawner_override"]
    if isinstance(groups, str) or not isinstance(groups, Collection):
        return f"groups: expected a list of names, found {groups!r}"
    if not isinstance(values, Mapping):
        return f"spawner_override: expected a dictionary of settings, found {values!r}"
    for key, value in values.items():
        if not hasattr(spawner_class, str(key)):
            return f"spawner_override: {spawner_class.__name__} has no setting {key!r}"
        # Dictionaries are merged; functions return the value for each user.
        trait = spawner_class.class_traits().get(key)
        if trait is None or callable(value) or isinstance(value, dict):
            continue
        try:
            trait._validate(spawner_class.__new__(spawner_class), value)
        except TraitError as error:
            return f"spawner_override: {key}: {error}"
    return None
