"""The keys of a TLJH configuration as lines of a fragment; no input or output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from littlest_hub.stacks.classroom.accounts.settings import FIRST_USE, OTHER, SIGN_UP, SYSTEM

FIRST_USE_CLASS = "firstuseauthenticator.FirstUseAuthenticator"
"""The default of TLJH."""
_LOGINS = {
    FIRST_USE_CLASS: FIRST_USE,
    "nativeauthenticator.NativeAuthenticator": SIGN_UP,
    "native": SIGN_UP,
    "jupyterhub.auth.PAMAuthenticator": SYSTEM,
    "pam": SYSTEM,
}
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
_PAGES = {"jupyterlab": "/lab", "classic": "/tree"}
_CULLER_OPTIONS = {
    "timeout": "--timeout",
    "every": "--cull-every",
    "concurrency": "--concurrency",
    "max_age": "--max-age",
}


@dataclass
class Converted:
    """The result of a conversion."""

    login: str = FIRST_USE
    """LOGIN of the stack's fragment."""
    lines: list[str] = field(default_factory=list)
    """The lines of a fragment."""
    report: list[tuple[str, str]] = field(default_factory=list)
    """Each key, and its result."""

    def set(self, key: str, name: str, value: Any) -> None:
        """Add a setting for a key."""
        self.lines.append(f"{name} = {literal(value)}")
        self.report.append((key, name))

    def leave(self, key: str, reason: str) -> None:
        """Report a key that has no setting here."""
        self.report.append((key, f"left out: {reason}"))


def convert(config: Mapping[str, Any]) -> Converted:
    """Convert a configuration; every key is in the report."""
    done = Converted()
    parts: dict[str, Callable[[Converted, Mapping[str, Any]], None]] = {
        "users": _users,
        "limits": _limits,
        "auth": _auth,
        "https": _https,
        "http": _http,
        "services": _services,
        "user_environment": _user_environment,
    }
    for key, value in config.items():
        if key == "base_url":
            done.set(key, "c.JupyterHub.base_url", str(value))
        elif key == "traefik_api":
            done.leave(key, "the proxy's interface is only for the hub, and needs no password")
        elif key not in parts:
            done.leave(key, "no key of TLJH")
        elif not isinstance(value, Mapping):
            if value is not None:
                done.leave(key, f"expected keys below it, found {value!r}")
        else:
            parts[key](done, value)
    if "auth" not in config:
        _auth(done, {})
    return done


def literal(value: Any) -> str:
    """Return a value of YAML as Python."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(map(literal, sorted(value))) + "}" if value else "set()"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return repr(str(value))  # a date, for example


def logins(value: Any) -> set[str]:
    """Return the names in a list of YAML, which reads some of them as numbers."""
    return {str(each) for each in value} if isinstance(value, (list, tuple, set)) else set()


def _users(done: Converted, users: Mapping[str, Any]) -> None:
    names = {"allowed": "allowed_users", "banned": "blocked_users", "admin": "admin_users"}
    for key, value in users.items():
        where = f"users.{key}"
        if key in names:
            name = f"c.Authenticator.{names[key]}"
            # Without `=`, because other fragments name people as well.
            done.lines.append(f"{name}.update({literal(logins(value))})")
            done.report.append((where, name))
        elif key == "extra_user_groups" and isinstance(value, Mapping):
            groups = {str(group): sorted(logins(members)) for group, members in value.items()}
            text = "the accounts keep their groups; for new people, in 60-class.py:"
            done.leave(where, f"{text} ACCOUNT_GROUPS = {literal(groups)}")
        else:
            done.leave(where, "no key of TLJH")


def _limits(done: Converted, limits: Mapping[str, Any]) -> None:
    for key, value in limits.items():
        if key not in ("memory", "cpu"):
            done.leave(f"limits.{key}", "no key of TLJH")
        elif value is None:
            done.leave(f"limits.{key}", "no limit, where this hub has one of 50 % of the memory")
        else:
            done.set(
                f"limits.{key}", f"c.Spawner.{'mem' if key == 'memory' else 'cpu'}_limit", value
            )


def _auth(done: Converted, auth: Mapping[str, Any]) -> None:
    kind = str(auth.get("type", FIRST_USE_CLASS))
    done.login = _LOGINS.get(kind, OTHER)
    done.report.append(("auth.type", f'LOGIN = "{done.login}" in 60-class.py'))
    if done.login == OTHER:
        done.set("auth.type", "c.JupyterHub.authenticator_class", kind)
    for name, traits in auth.items():
        if name == "type":
            continue
        if name != kind.rpartition(".")[2] or not isinstance(traits, Mapping):
            done.leave(f"auth.{name}", f"TLJH uses {kind}")
            continue
        for trait, value in traits.items():
            where = f"auth.{name}.{trait}"
            if value is None:
                continue
            if done.login in (FIRST_USE, SIGN_UP):
                done.leave(where, f'this hub has its own way of LOGIN = "{done.login}"')
            elif str(trait).isidentifier() and str(name).isidentifier():
                done.set(where, f"c.{name}.{trait}", value)
            else:
                done.leave(where, "no name of a setting")


def _https(done: Converted, https: Mapping[str, Any]) -> None:
    is_enabled = https.get("enabled") is True
    for key, value in https.items():
        where = f"https.{key}"
        if key == "enabled":
            done.report.append((where, "as below" if is_enabled else "no HTTPS"))
        elif key in ("address", "port"):
            done.leave(where, "see how-to/https.md; the proxy's sockets decide it")
        elif not is_enabled:
            done.leave(where, "https.enabled is not true")
        elif key == "tls" and isinstance(value, Mapping):
            for name in ("cert", "key"):
                if value.get(name):
                    done.set(f"{where}.{name}", f"c.JupyterHub.ssl_{name}", str(value[name]))
        elif key == "letsencrypt" and isinstance(value, Mapping):
            _letsencrypt(done, value)
        else:
            done.leave(where, "no key of TLJH")


def _letsencrypt(done: Converted, value: Mapping[str, Any]) -> None:
    where = "https.letsencrypt"
    if value.get("domains"):
        done.set(f"{where}.domains", "c.HubProxy.domains", sorted(logins(value["domains"])))
        done.lines.append('c.HubProxy.acme_challenge = "tls-alpn-01"')
    if value.get("email"):
        done.set(f"{where}.email", "c.HubProxy.acme_email", str(value["email"]))
    if value.get("staging"):
        done.set(f"{where}.staging", "c.HubProxy.acme_directory", _STAGING)


def _http(done: Converted, http: Mapping[str, Any]) -> None:
    for key, value in http.items():
        port = f"install with LITTLEST_HUB_PORT={value}"
        done.leave(f"http.{key}", port if key == "port" else "the proxy's socket decides it")


def _services(done: Converted, services: Mapping[str, Any]) -> None:
    for key, value in services.items():
        if key == "cull" and isinstance(value, Mapping):
            _cull(done, value)
        else:
            done.leave(f"services.{key}", "no key of TLJH")


def _cull(done: Converted, cull: Mapping[str, Any]) -> None:
    where = "services.cull"
    name = '"idle-culler"'
    done.lines.append("for kept in (c.JupyterHub.services, c.JupyterHub.load_roles):")
    done.lines.append(f'    kept[:] = [each for each in kept if each["name"] != {name}]')
    is_enabled = cull.get("enabled") is not False
    done.report.append((f"{where}.enabled", "as below" if is_enabled else "no culler"))
    if not is_enabled:
        return
    options = [*_culler_options(done, cull)]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    if cull.get("users"):
        scopes.append("admin:users")
    python = '*(sys.executable, "-I", "-m", "jupyterhub_idle_culler")'
    done.lines.insert(0, "import sys")
    done.lines += [
        "c.JupyterHub.services.append(",
        f'    {{"name": {name}, "command": [{python}, *{literal(options)}]}}',
        ")",
        "c.JupyterHub.load_roles.append(",
        f'    {{"name": {name}, "scopes": {literal(scopes)}, "services": [{name}]}}',
        ")",
    ]


def _culler_options(done: Converted, cull: Mapping[str, Any]) -> Iterator[str]:
    where = "services.cull"
    # TLJH's own default.
    timeout_s = cull.get("timeout", 600)
    for key, value in {"timeout": timeout_s, **cull}.items():
        if key == "enabled":
            continue
        if key in _CULLER_OPTIONS and type(value) is int:
            yield f"{_CULLER_OPTIONS[key]}={value}"
        elif key in ("users", "remove_named_servers") and isinstance(value, bool):
            if value:
                yield "--cull-users" if key == "users" else "--remove-named-servers"
        else:
            done.leave(f"{where}.{key}", f"expected a number, found {value!r}")
            continue
        done.report.append((f"{where}.{key}", "an option of the culler"))


def _user_environment(done: Converted, environment: Mapping[str, Any]) -> None:
    for key, value in environment.items():
        where = f"user_environment.{key}"
        if key == "default_app" and value in _PAGES:
            done.set(where, "c.Spawner.default_url", _PAGES[value])
            if value == "classic":
                done.leave(where, "/tree needs: littlest-hub packages add --server notebook")
        else:
            done.leave(where, f"{value!r} is not here")
