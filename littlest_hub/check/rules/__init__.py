"""What can be known to be wrong although every value by itself is fine: one function for each.

A rule gets all settings and yields problems. To add one, write it and put it into RULES.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import re
import shutil
import ssl
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from littlest_hub import installation
from littlest_hub.check import Problem
from littlest_hub.check.rules import https
from littlest_hub.check.settings import Setting, Settings, did_you_mean, is_a, overlap

Rule = Callable[[Settings], Iterator[Problem]]

_ROLE_KEYS = ("name", "description", "scopes", "users", "services", "groups")
_GROUP_KEYS = ("users", "properties")
_BECOME_OTHERS = ("runuser", "sudo", "su", "setpriv", "doas")
_DRIVERS = {"postgresql": "psycopg2", "mysql": "MySQLdb"}
"""What SQLAlchemy imports for a database URL without a driver in it."""


# --- who may log in


def nobody_may_log_in(settings: Settings) -> Iterator[Problem]:
    """Neither a list of users nor anything else lets anybody in."""
    if not settings.facts["is_service"]:
        return  # `littlest-hub run` lets in its owner
    cls = settings.chosen["Authenticator"]
    if cls.__name__ == "NullAuthenticator" or settings.get("JupyterHub", "admin_users").value:
        return
    allows = [name for name in cls.class_traits(config=True) if _lets_in(name)]
    if any(settings.get("Authenticator", name).value for name in allows):
        return
    yield Problem(
        settings.facts["fragments"],
        0,
        'nobody may log in; expected c.Authenticator.allowed_users = {"alice"}, or admin_users,'
        " or allow_all = True, in one of the fragments",
        is_warning=True,
    )


def _lets_in(trait: str) -> bool:
    is_allow = trait.startswith(("allow", "any_allow")) and trait != "allow_existing_users"
    return is_allow or trait in ("admin_users", "admin_groups")


def names_that_nobody_can_have(settings: Settings) -> Iterator[Problem]:
    """Users that Authenticator.username_pattern refuses: the hub would not start."""
    cls: Any = settings.chosen["Authenticator"]
    authenticator = cls.__new__(cls)
    pattern = settings.get("Authenticator", "username_pattern")
    authenticator.username_pattern = pattern.value
    for setting, name in _named_users(settings):
        if not isinstance(name, str):
            yield from setting.error(f"expected names, found {name!r}", name)
        elif not authenticator.validate_username(authenticator.normalize_username(name)):
            text = f"{name!r} is no user name here; expected {pattern.value} ({pattern.name})"
            yield from setting.error(text, name)


def names_of_one_letter(settings: Settings) -> Iterator[Problem]:
    """A name given where a set of names belongs, which Python takes for a set of letters."""
    for key in ("allowed_users", "admin_users", "blocked_users"):
        setting = settings.get("Authenticator", key)
        letters = sorted(name for name in setting.value or () if len(str(name)) == 1)
        if len(letters) > 1:
            yield from setting.error(
                f"found the single letters {''.join(letters)!r}; expected names, such as"
                ' {"alice"}: set("alice") and update("alice") are sets of letters',
                letters[0],
            )


def users_without_an_account(settings: Settings) -> Iterator[Problem]:
    """Names that PAM cannot let in, or that no server can run as."""
    if not _uses_system_users(settings):
        return
    if settings.get("Authenticator", "create_system_users").value:
        return
    for setting, name in _named_users(settings):
        if isinstance(name, str) and not _exists(pwd.getpwnam, name):
            text = f"this machine has no user {name!r}; expected one of its accounts"
            yield from setting.warning(text, name)


def groups_that_do_not_exist(settings: Settings) -> Iterator[Problem]:
    """System groups that let nobody in."""
    if not is_a(settings.chosen["Authenticator"], "LocalAuthenticator"):
        return
    for key in ("allowed_groups", "admin_groups"):
        setting = settings.get("Authenticator", key)
        for name in setting.value or ():
            if not _exists(grp.getgrnam, name):
                yield from setting.warning(f"this machine has no group {name!r}", name)


def pam_service_that_does_not_exist(settings: Settings) -> Iterator[Problem]:
    """PAM then asks "other", which refuses everybody."""
    setting = settings.get("Authenticator", "service")
    if not is_a(settings.chosen["Authenticator"], "PAMAuthenticator"):
        return
    places = [Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/share/pam.d")]
    if isinstance(setting.value, str) and not any((d / setting.value).exists() for d in places):
        yield from setting.error(f"there is no PAM service {setting.value!r} in /etc/pam.d")


def names_that_pam_is_asked_for_as_typed(settings: Settings) -> Iterator[Problem]:
    """JupyterHub's own PAM authenticator in place of ours, see `littlest_hub.hub.authenticator`."""
    if settings.chosen["Authenticator"].__name__ == "PAMAuthenticator":
        yield from settings.get("JupyterHub", "authenticator_class").warning(
            "asks PAM for the name as it is typed and lets in the lower-case one, which may be"
            " another account; expected no authenticator_class: PAM is what we ask by default"
        )


def auth_state_without_a_key(settings: Settings) -> Iterator[Problem]:
    """The hub refuses to start without a key to encrypt with."""
    setting = settings.get("Authenticator", "enable_auth_state")
    keys = settings.get_class("CryptKeeper", "keys") or os.environ.get("JUPYTERHUB_CRYPT_KEY")
    if setting.value and not keys:
        yield from setting.error(
            "needs a key to encrypt with; expected c.CryptKeeper.keys = [32 bytes], or"
            " JUPYTERHUB_CRYPT_KEY in the environment of the hub's unit"
        )


def groups_from_two_sources(settings: Settings) -> Iterator[Problem]:
    """Groups from the authenticator exclude groups from the configuration, and so do roles."""
    groups = settings.get("JupyterHub", "load_groups")
    if settings.get("Authenticator", "manage_groups").value and groups.value:
        yield from groups.error("the authenticator manages groups (manage_groups); expected none")
    roles = settings.get("JupyterHub", "load_roles")
    if settings.get("Authenticator", "manage_roles").value:
        for role in _dicts(roles):
            if role.get("users") or role.get("groups"):
                text = f"role {role.get('name')!r}: the authenticator assigns roles (manage_roles)"
                yield from roles.error(text, role)


# --- addresses and ports


def ports_out_of_range(settings: Settings) -> Iterator[Problem]:
    """Numbers that are no TCP port."""
    for key in ("port", "hub_port"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, int) and not 0 <= setting.value < 65536:
            yield from setting.error(f"expected a port up to 65535, found {setting.value}")


def urls_that_are_none(settings: Settings) -> Iterator[Problem]:
    """Addresses without a scheme, or with a port that is none."""
    for key in ("bind_url", "hub_bind_url", "hub_connect_url", "public_url"):
        setting = settings.get("JupyterHub", key)
        url = setting.value
        if not url or not isinstance(url, str) or setting.place is None:
            continue
        parts = _split(url)
        if parts is None:
            yield from setting.error(f"expected a port up to 65535 in {url!r}")
        elif parts.scheme not in ("http", "https", "http+unix", "unix+http"):
            yield from setting.error(f"expected a URL such as 'http://:8000', found {url!r}")


def ports_of_other_programs(settings: Settings) -> Iterator[Problem]:
    """Ports that are taken, as far as this can be seen."""
    for setting, host, port in _listening(settings):
        for other in settings.facts["listeners"]:
            if other["port"] == port and overlap(host, other["address"]):
                text = f"port {port} is in use by {other['whose']}; expected a free one"
                yield from setting.error(text)
                break


def addresses_that_the_socket_decides(settings: Settings) -> Iterator[Problem]:
    """The proxy listens where its socket unit says, whatever JupyterHub is told."""
    public: list[tuple[str, int]] = settings.facts["public"]
    if not public or not is_a(settings.chosen["Proxy"], "HubProxy"):
        return
    layout = installation.of_base(Path(settings.facts["base"]))
    everywhere = any(_is_everywhere(host) for host, _ in public)
    where = " and ".join(f"port {port} of {_named(host)}" for host, port in public)
    for setting, host, port in _listening(settings):
        is_public = setting.name.rpartition(".")[2] in ("bind_url", "ip", "port")
        if not is_public or str(setting.value).startswith("https:"):
            continue
        is_there = port in (0, *(port for _, port in public))
        host = "127.0.0.1" if host == "localhost" else host
        hosts = ["", *(host.strip("[]") for host, _ in public)]
        if is_there and (_is_everywhere(host) if everywhere and host else host in hosts):
            continue
        yield from setting.warning(
            f"{setting.value!r} has no effect: the proxy listens where its socket does, at {where};"
            " expected no such setting; to move it: `littlest-hub install` with LITTLEST_HUB_PORT="
            f"127.0.0.1:8000, say, or: systemctl edit {layout.proxy_socket}"
        )


def _named(host: str) -> str:
    return "every address" if _is_everywhere(host) else host


def _is_everywhere(host: str) -> bool:
    return host.strip("[]") in ("", "*", "::", "0.0.0.0")


def base_url_that_is_no_path(settings: Settings) -> Iterator[Problem]:
    """A whole URL, or one with more than a path."""
    setting = settings.get("JupyterHub", "base_url")
    url = setting.value
    if setting.place and isinstance(url, str) and re.search(r"[?#\s\\]|//", url):
        yield from setting.error(f"expected a path such as '/jupyter/', found {url!r}")


def public_url_of_another_path(settings: Settings) -> Iterator[Problem]:
    """The hub would not start: what people use ends in the hub's own path."""
    setting = settings.get("JupyterHub", "public_url")
    base_url, bind_url = (settings.get("JupyterHub", key).value for key in ("base_url", "bind_url"))
    parts = _split(setting.value) if isinstance(setting.value, str) else None
    if not parts or not isinstance(bind_url, str):
        return
    below = base_url if settings.get("JupyterHub", "base_url").place else urlsplit(bind_url).path
    path, wanted = parts.path.strip("/"), str(below or "").strip("/")
    if path and not f"/{path}".endswith(f"/{wanted}"):
        yield from setting.error(
            f"expected the path /{wanted}, that of JupyterHub.base_url, found {setting.value!r}"
        )


def proxies_that_are_everybody(settings: Settings) -> Iterator[Problem]:
    """Whoever visits would say himself where he comes from."""
    setting = settings.get("Proxy", "trusted_proxies")
    for network in _strings(setting.value):
        if network.endswith("/0"):
            yield from setting.warning(
                f"{network!r} is everybody: expected the addresses of the proxies in front", network
            )


def ports_used_twice(settings: Settings) -> Iterator[Problem]:
    """The public port, the hub's and that of the proxy's own interface are three."""
    ours = {name: _effective_port(settings, name) for name in ("bind_url", "hub_port", "api")}
    for name, key in (("bind_url", "bind_url"), ("bind_url", "port"), ("hub_port", "hub_port")):
        setting = settings.get("JupyterHub", key)
        others = {other for other, port in ours.items() if other != name and port == ours[name]}
        if others and setting.place:
            what = {"bind_url": "public port", "hub_port": "hub's", "api": "proxy's interface"}
            taken = " and ".join(sorted(what[other] for other in others))
            yield from setting.error(f"port {ours[name]} is the {taken} too; expected another")


def _effective_port(settings: Settings, name: str) -> int | None:
    if name == "hub_port":
        port = settings.get("JupyterHub", "hub_port").value
        return port if isinstance(port, int) else None
    url = settings.get("Proxy", "traefik_api_url") if name == "api" else None
    url = url or settings.get("JupyterHub", "bind_url")
    parts = _split(url.value) if isinstance(url.value, str) else None
    port = settings.get("JupyterHub", "port")
    if name == "bind_url" and port.place and isinstance(port.value, int):
        return port.value
    return parts.port if parts else None


def addresses_of_other_machines(settings: Settings) -> Iterator[Problem]:
    """Addresses to listen at that are not of this machine."""
    for setting, host, _ in _listening(settings):
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            continue
        ours = settings.facts["addresses"]
        if address.is_unspecified or address.is_loopback or not ours or str(address) in ours:
            continue
        text = f"{host} is no address of this machine; expected one of {', '.join(ours)}"
        yield from setting.error(text)


def _listening(settings: Settings) -> Iterator[tuple[Setting, str, int]]:
    """What fragments want hub and proxy to listen at."""
    for url_key, host_key, port_key in (
        ("bind_url", "ip", "port"),
        ("hub_bind_url", "hub_ip", "hub_port"),
    ):
        url = settings.get("JupyterHub", url_key)
        parts = _split(url.value) if isinstance(url.value, str) else None
        if url.place and parts and parts.scheme in ("http", "https"):
            default = 443 if parts.scheme == "https" else 80
            yield url, parts.hostname or "", parts.port or default
        host, port = (settings.get("JupyterHub", key) for key in (host_key, port_key))
        if isinstance(host.value, str) and isinstance(port.value, int):
            if port.place:
                yield port, host.value, port.value
            elif host.place:
                # The port is the one that our sockets have.
                yield host, host.value, 0


def _split(url: str) -> SplitResult | None:
    """The parts of a URL; None if its port is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


# --- files


def files_that_cannot_be_read(settings: Settings) -> Iterator[Problem]:
    """Keys, certificates and pages that are not there or not for the hub."""
    for key in ("ssl_key", "ssl_cert", "internal_ssl_key", "logo_file"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, str) and setting.value:
            yield from _unreadable(setting, Path(setting.value))
    paths = settings.get("JupyterHub", "template_paths")
    for directory in paths.value if isinstance(paths.value, list) else ():
        if isinstance(directory, str) and not Path(directory).is_dir():
            yield from paths.warning(f"there is no directory {directory}", directory)


def _unreadable(setting: Setting, file: Path) -> Iterator[Problem]:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        text = f"the hub cannot read {file} ({error.strerror}); expected a file"
        yield from setting.error(text)


def half_a_certificate(settings: Settings) -> Iterator[Problem]:
    """A certificate without its key, the reverse, or with another one's."""
    key, certificate = (settings.get("JupyterHub", name) for name in ("ssl_key", "ssl_cert"))
    if key.value and not certificate.value:
        yield from key.error("found a key without JupyterHub.ssl_cert; expected both")
    elif certificate.value and not key.value:
        yield from certificate.error(
            "found a certificate without JupyterHub.ssl_key; expected both"
        )
    elif key.value and certificate.value and all(_is_readable(s.value) for s in (key, certificate)):
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.value, key.value, password="")
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = getattr(error, "reason", None) or str(error)
            what = {
                "KEY_VALUES_MISMATCH": f"{key.value} is not the key of {certificate.value}",
                "NO_START_LINE": f"{certificate.value} or {key.value} is not in PEM format",
            }.get(reason, f"{certificate.value} and {key.value} are no usable pair ({reason})")
            yield from (certificate.error(what) or key.error(what))


def cookie_secret_that_does_not_work(settings: Settings) -> Iterator[Problem]:
    """A file that is open to others, too short, or in a place where none can be made."""
    setting = settings.get("JupyterHub", "cookie_secret_file")
    if setting.place is None or not isinstance(setting.value, str):
        return
    file = _in_state(settings, setting.value)
    if not file.exists():
        yield from _unwritable(settings, setting, file)
        return
    yield from _unreadable(setting, file)
    if file.is_file() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = f"{stat.S_IMODE(file.stat().st_mode):04o}"
        yield from setting.error(f"{file} has mode {mode}; expected 0600: chmod 600 {file}")
    elif _is_readable(str(file)) and len(file.read_text(errors="replace").strip()) < 64:
        yield from setting.error(
            f"{file} is too short; expected 64 hexadecimal digits: openssl rand -hex 32 > {file}"
        )


def database_that_cannot_be_opened(settings: Settings) -> Iterator[Problem]:
    """A directory that does not exist or is not the hub's to write to, or a missing driver."""
    setting = settings.get("JupyterHub", "db_url")
    if setting.place is None or not isinstance(setting.value, str):
        return
    dialect, separator, rest = setting.value.partition("://")
    scheme, _, driver = dialect.partition("+")
    if not separator and "/" not in setting.value:
        text = f"expected a URL such as 'sqlite:////srv/hub.sqlite', found {setting.value!r}"
        yield from setting.error(text)
    elif scheme == "sqlite" or not separator:
        path = rest.removeprefix("/").partition("?")[0] if separator else setting.value
        if path in ("", ":memory:"):
            yield from setting.warning("a database in memory forgets everybody at each reload")
        else:
            yield from _unwritable(settings, setting, _in_state(settings, unquote(path)))
    else:
        module = driver or _DRIVERS.get(scheme, "")
        if not module and scheme not in ("oracle", "mssql"):
            hint = did_you_mean(scheme, ["sqlite", "postgresql", "mysql"])
            yield from setting.error(f"there is no kind of database {scheme!r}{hint}")
        elif module and not _can_import(module):
            yield from setting.error(f"the driver {module} is not installed in the hub environment")


def files_that_cannot_be_written(settings: Settings) -> Iterator[Problem]:
    """Where the hub wants to write, and its unit does not let it."""
    for key in ("pid_file", "extra_log_file"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, str) and setting.value:
            yield from _unwritable(settings, setting, _in_state(settings, setting.value))


def _unwritable(settings: Settings, setting: Setting, file: Path) -> Iterator[Problem]:
    directory = file.parent
    if not directory.is_dir():
        yield from setting.error(f"there is no directory {directory} for {file.name}")
        return
    layout = installation.of_base(Path(settings.facts["base"]))
    if settings.facts["is_service"]:
        writable = [layout.hub_state, Path("/run"), *map(Path, settings.facts["writable"])]
        real = directory.resolve()
        if not any(real.is_relative_to(path) for path in writable):
            yield from setting.error(
                f"the hub's unit may not write in {directory}; expected {layout.hub_state}, or a"
                f" drop-in with ReadWritePaths={directory} (systemctl edit {layout.hub_service})"
            )
    elif directory.stat().st_uid != os.geteuid() and not directory.stat().st_mode & stat.S_IWOTH:
        yield from setting.error(f"{directory} is not ours to write to")


def _in_state(settings: Settings, path: str) -> Path:
    """A path as the hub finds it, whose working directory is the state directory."""
    return installation.of_base(Path(settings.facts["base"])).hub_state / path


def _is_readable(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return True
    except OSError:
        return False


# --- services, roles, groups


def services_that_contradict(settings: Settings) -> Iterator[Problem]:
    """Names or ports given twice, missing names, and fields that there are not."""
    from jupyterhub.services.service import Service

    setting = settings.get("JupyterHub", "services")
    traits = Service.class_traits(input=True)
    services = list(_dicts(setting))
    names, ports = Counter(s.get("name") for s in services), Counter(map(_port, services))
    for service in services:
        name = service.get("name")
        if not name:
            fields = ", ".join(map(str, service))  # api_token has a value that is nobody's business
            text = f"found a service without a name ({fields}); expected {{'name': …}}"
            yield from setting.error(text, service)
            continue
        what = f"service {name!r}"
        if names[name] > 1:
            yield from setting.error(f"{what} is there {names[name]} times", service)
            names[name] = 0
        port = _port(service)
        if port and ports[port] > 1:
            yield from setting.error(f"port {port} is that of {ports[port]} services", service)
            ports[port] = 0
        url = service.get("url")
        if isinstance(url, str) and url and not url.startswith(("http://", "https://")):
            text = f"{what}: expected a url with http:// or https://, found {url!r}"
            yield from setting.error(text, service)
        for key, value in service.items():
            if key not in traits:
                text = f"{what}: there is no field {key!r}{did_you_mean(key, traits)}"
                yield from setting.error(text, service)
                continue
            try:
                traits[key]._validate(Service.__new__(Service), value)
            except Exception as error:
                reason = " ".join(str(error).split()).partition(" instance ")[2] or str(error)
                yield from setting.error(f"{what}: {key}: {reason}", service)
        if service.get("admin"):
            text = f"{what}: admin is deprecated since JupyterHub 2; expected a role in load_roles"
            yield from setting.warning(text, service)
        yield from _unknown_scopes(
            setting, service.get("oauth_client_allowed_scopes"), what, service, settings
        )


def _port(service: dict[str, Any]) -> int | None:
    url = service.get("url")
    parts = _split(url) if isinstance(url, str) else None
    return parts.port if parts else None


def roles_that_contradict(settings: Settings) -> Iterator[Problem]:
    """Names given twice, unknown scopes, fields and services."""
    from jupyterhub.roles import _validate_role_name, get_default_roles

    setting = settings.get("JupyterHub", "load_roles")
    services = {s.get("name") for s in _dicts(settings.get("JupyterHub", "services"))}
    stock = {role["name"]: role for role in get_default_roles()}
    roles = list(_dicts(setting))
    names = Counter(role.get("name") for role in roles)
    for role in roles:
        name = role.get("name")
        if not isinstance(name, str) or not name:
            text = f"found a role without a name ({role!r}); expected {{'name': …}}"
            yield from setting.error(text, role)
            continue
        what = f"role {name!r}"
        if names[name] > 1:
            yield from setting.error(f"{what} is there {names[name]} times", role)
            names[name] = 0
        if name not in stock:
            try:
                _validate_role_name(name)
            except Exception as error:
                text = " ".join(str(error).split())
                yield from setting.error(f"{what}: {text}", role)
        elif name == "admin" and role.get("scopes", stock[name]["scopes"]) != stock[name]["scopes"]:
            yield from setting.error(f"{what}: its scopes cannot be changed", role)
        for key in role.keys() - _ROLE_KEYS:
            hint = did_you_mean(str(key), _ROLE_KEYS)
            yield from setting.error(f"{what}: there is no field {key!r}{hint}", role)
        for key in ("scopes", "users", "services", "groups"):
            if isinstance(role.get(key), str):
                text = f"{what}: expected a list of {key}, found {role[key]!r}"
                yield from setting.error(text, role)
        for service in _strings(role.get("services")):
            if service not in services:
                hint = did_you_mean(service, [str(name) for name in services])
                yield from setting.error(f"{what}: there is no service {service!r}{hint}", role)
        yield from _unknown_scopes(setting, role.get("scopes"), what, role, settings)


def groups_of_the_wrong_form(settings: Settings) -> Iterator[Problem]:
    """What JupyterHub would not understand, or not any more."""
    setting = settings.get("JupyterHub", "load_groups")
    if not isinstance(setting.value, dict):
        return
    for item in setting.value.items():
        name, group = item
        if isinstance(group, list):
            yield from setting.warning(
                f"group {name!r}: a list is deprecated since JupyterHub 3.2; expected"
                f" {{'users': {group!r}}}",
                item,
            )
        elif not isinstance(group, dict):
            text = f"group {name!r}: expected {{'users': […]}}, found {group!r}"
            yield from setting.error(text, item)
        else:
            for key in group.keys() - _GROUP_KEYS:
                hint = did_you_mean(str(key), _GROUP_KEYS)
                yield from setting.error(f"group {name!r}: there is no field {key!r}{hint}", item)
            if isinstance(group.get("users"), str):
                text = f"group {name!r}: expected a list of users, found {group['users']!r}"
                yield from setting.error(text, item)


def scopes_that_do_not_exist(settings: Settings) -> Iterator[Problem]:
    """Elsewhere than in roles and services."""
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
    setting: Setting, scopes: object, what: str, element: Any, settings: Settings
) -> Iterator[Problem]:
    from jupyterhub.scopes import _check_scopes_exist, scope_definitions

    custom = settings.get("JupyterHub", "custom_scopes").value
    custom = custom if isinstance(custom, dict) else {}
    for scope in _strings(scopes):
        name = scope.partition("!")[0]
        if name in custom:
            continue
        try:
            _check_scopes_exist([scope])
        except Exception as error:
            known = name in scope_definitions
            hint = "" if known else did_you_mean(name, [*scope_definitions, *custom])
            reason = str(error) if known else f"there is no scope {scope!r}"
            start = f"{what}: " if what else ""
            yield from setting.error(f"{start}{reason}{hint}", element)


# --- servers


def environment_that_is_no_text(settings: Settings) -> Iterator[Problem]:
    """Values that stop every server from starting."""
    setting = settings.get("Spawner", "environment")
    for item in setting.value.items() if isinstance(setting.value, dict) else ():
        name, value = item
        if not isinstance(value, str) and not callable(value):
            kind = type(value).__name__
            yield from setting.error(f"{name}: expected text or a function, found {kind}", item)


def guarantees_above_limits(settings: Settings) -> Iterator[Problem]:
    """More promised than allowed."""
    for kind in ("mem", "cpu"):
        limit, guarantee = (settings.get("Spawner", f"{kind}_{w}") for w in ("limit", "guarantee"))
        try:
            most, least = (_size(settings, setting) for setting in (limit, guarantee))
        except Exception:
            continue  # reported already
        if most and least and least > most:
            text = f"{guarantee.value!r} is more than {limit.name} ({limit.value!r})"
            yield from (guarantee.error(text) or limit.error(text))


def limits_too_small_to_start(settings: Settings) -> Iterator[Problem]:
    """A number without a unit is one of bytes."""
    setting = settings.get("Spawner", "mem_limit")
    try:
        size = _size(settings, setting)
    except Exception:
        return
    if size and size < 128 << 20:
        yield from setting.warning(
            f"{setting.value!r} is {size:.0f} bytes, too little for a server; expected text with a"
            " unit, such as '2G'"
        )


def _size(settings: Settings, setting: Setting) -> float | None:
    cls: Any = settings.chosen["Spawner"]
    trait = cls.class_traits()[setting.name.rpartition(".")[2]]
    value = trait._validate(cls.__new__(cls), setting.value)
    return value if isinstance(value, (int, float)) else None


def programs_that_do_not_exist(settings: Settings) -> Iterator[Problem]:
    """What a server, or the proxy, would be started with."""
    if _is_unit_spawner(settings):
        command = settings.get("Spawner", "cmd")
        words = [command.value] if isinstance(command.value, str) else command.value
        if command.place and words and isinstance(words[0], str):
            yield from _no_program(command, words[0])
        shell = settings.get("Spawner", "default_shell")
        if shell.place and isinstance(shell.value, str):
            yield from _no_program(shell, shell.value)
    if is_a(settings.chosen["Proxy"], "ConfigurableHTTPProxy"):
        program = settings.get("Proxy", "command").value or ["configurable-http-proxy"]
        if not shutil.which(program[0]):
            yield from settings.get("JupyterHub", "proxy_class").error(
                f"{program[0]} is not installed; expected no proxy_class, for the stock proxy"
            )


def _no_program(setting: Setting, program: str) -> Iterator[Problem]:
    if "{" in program or "~" in program or program.startswith(("/home", "/root")):
        return  # depends on the user, or is not ours to see
    if program.startswith("/") and not os.access(program, os.X_OK):
        yield from setting.error(f"there is no program {program}")
    elif not program.startswith("/"):
        yield from setting.warning(
            f"{program!r} is looked for in the PATH of systemd; expected an absolute path"
        )


def what_only_root_can_do(settings: Settings) -> Iterator[Problem]:
    """Settings that a hub that is not root cannot carry out."""
    layout = installation.of_base(Path(settings.facts["base"]))
    if not layout.hub_user:
        return
    who = f"this hub is {layout.hub_user}, not root"
    authenticator = settings.chosen["Authenticator"]
    if is_a(authenticator, "AskingAuthenticator"):
        for key in ("service", "check_account", "open_sessions", "encoding"):
            yield from settings.get("Authenticator", key).error(
                f"{who}, and its helper asks PAM in one way; expected no such line"
            )
    elif is_a(authenticator, "PAMAuthenticator"):
        yield from settings.get("JupyterHub", "authenticator_class").error(
            f"{who}, and PAM tells it nothing; expected no authenticator_class, for the helper"
        )
    if not _is_unit_spawner(settings):
        return
    if not is_a(settings.chosen["Spawner"], "TemplateSpawner"):
        yield from settings.get("JupyterHub", "spawner_class").error(
            f"{who}, and systemd does not start any unit for it; expected no spawner_class"
        )
        return
    for key, directive in _OF_THE_UNIT.items():
        instead = f"systemctl edit {layout.user_template}, with {directive}" if directive else ""
        yield from settings.get("Spawner", key).error(
            f"{who}, and has no say in this; expected {instead or 'no such line'}"
        )


# What root's unit of a server decides, and the directive that does it there.
_OF_THE_UNIT = {
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


def commands_as_other_users(settings: Settings) -> Iterator[Problem]:
    """What batchspawner runs as the user, for which the hub's unit has to have the right."""
    setting = settings.get("Spawner", "exec_prefix")
    is_root = installation.of_base(Path(settings.facts["base"])).hub_user is None
    if not isinstance(setting.value, str) or (is_root and settings.facts["becomes_others"]):
        return
    program = Path((setting.value.split() or [""])[0]).name
    if program in _BECOME_OTHERS:
        # The prefix may be the spawner's own.
        to_blame = setting if setting.place else settings.get("JupyterHub", "spawner_class")
        yield from to_blame.error(
            f"{program} runs commands as other users, which the hub's unit may not; expected a"
            " drop-in that allows it (CapabilityBoundingSet=CAP_SETUID CAP_SETGID and"
            " PrivateUsers=no), as `littlest-hub enable slurm` brings along"
        )


def page_without_a_slash(settings: Settings) -> Iterator[Problem]:
    """The first page of a server is below its address."""
    setting = settings.get("Spawner", "default_url")
    url = setting.value
    if isinstance(url, str) and url and not url.startswith(("/", "{")) and "://" not in url:
        yield from setting.warning(f"expected a path such as '/{url}', found {url!r}")


def directory_with_a_tilde(settings: Settings) -> Iterator[Problem]:
    """Nobody expands a bare home directory in a working directory of systemd's."""
    setting = settings.get("Spawner", "user_workingdir")
    if isinstance(setting.value, str) and setting.value.startswith("~"):
        text = f"expected an absolute path such as '/home/{{USERNAME}}', found {setting.value!r}"
        yield from setting.error(text)


# --- words for what is asked often


def _named_users(settings: Settings) -> Iterator[tuple[Setting, Any]]:
    for key in ("allowed_users", "admin_users"):
        setting = settings.get("Authenticator", key)
        if isinstance(setting.value, (set, list, tuple)):
            for name in sorted(setting.value, key=str):
                yield setting, name


def _uses_system_users(settings: Settings) -> bool:
    is_local = is_a(settings.chosen["Authenticator"], "LocalAuthenticator")
    dynamic = settings.get("Spawner", "dynamic_users").value
    return settings.facts["is_service"] and is_local and _is_unit_spawner(settings) and not dynamic


def _is_unit_spawner(settings: Settings) -> bool:
    return is_a(settings.chosen["Spawner"], "SystemdSpawner")


def _dicts(setting: Setting) -> Iterator[dict[str, Any]]:
    for element in setting.value if isinstance(setting.value, list) else ():
        if isinstance(element, dict):
            yield element


def _strings(value: object) -> Iterable[str]:
    is_many = isinstance(value, (list, set, tuple))
    return [each for each in value if isinstance(each, str)] if is_many else []  # type: ignore[attr-defined]


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    except OSError:
        return True  # nobody to ask
    return True


def _can_import(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


RULES: tuple[Rule, ...] = (
    nobody_may_log_in,
    names_that_nobody_can_have,
    names_of_one_letter,
    users_without_an_account,
    groups_that_do_not_exist,
    pam_service_that_does_not_exist,
    names_that_pam_is_asked_for_as_typed,
    auth_state_without_a_key,
    groups_from_two_sources,
    ports_out_of_range,
    urls_that_are_none,
    ports_of_other_programs,
    addresses_that_the_socket_decides,
    base_url_that_is_no_path,
    public_url_of_another_path,
    proxies_that_are_everybody,
    ports_used_twice,
    addresses_of_other_machines,
    files_that_cannot_be_read,
    half_a_certificate,
    cookie_secret_that_does_not_work,
    database_that_cannot_be_opened,
    files_that_cannot_be_written,
    services_that_contradict,
    roles_that_contradict,
    groups_of_the_wrong_form,
    scopes_that_do_not_exist,
    environment_that_is_no_text,
    guarantees_above_limits,
    limits_too_small_to_start,
    programs_that_do_not_exist,
    what_only_root_can_do,
    commands_as_other_users,
    page_without_a_slash,
    directory_with_a_tilde,
    *https.RULES,
)
