"""Rules on files that the hub reads and writes: certificates, secrets, the database."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from errno import EROFS
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.check.suggestions import did_you_mean
from littlest_hub.system.files import why_unwritable

# Modules that SQLAlchemy imports for a database URL without a driver.
_DRIVERS = {"postgresql": "psycopg2", "mysql": "MySQLdb"}


def unreadable_files(settings: Settings) -> Iterator[Problem]:
    """Refuse keys, certificates and logos that the hub cannot read; warn of missing templates."""
    for key in ("ssl_key", "ssl_cert", "internal_ssl_key", "logo_file"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, str) and setting.value:
            yield from _unreadable(setting, Path(setting.value))
    paths = settings.get("JupyterHub", "template_paths")
    for directory in paths.value if isinstance(paths.value, list) else ():
        if isinstance(directory, str) and not Path(directory).is_dir():
            yield from paths.warning(f"there is no directory {directory}", directory)


def _unreadable(setting: EffectiveSetting, file: Path) -> Iterator[Problem]:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        text = f"the hub cannot read {file} ({error.strerror}); expected a readable file"
        yield from setting.error(text)


def certificate_without_its_key(settings: Settings) -> Iterator[Problem]:
    """Refuse a certificate without a key, a key without a certificate, and one of another pair."""
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
            text = {
                "KEY_VALUES_MISMATCH": f"{key.value} is not the key of {certificate.value}",
                "NO_START_LINE": f"{certificate.value} or {key.value} is not in PEM format",
            }.get(reason, f"{certificate.value} and {key.value} cannot be used ({reason})")
            yield from (certificate.error(text) or key.error(text))


def unusable_cookie_secret(settings: Settings) -> Iterator[Problem]:
    """Refuse a secret that others can read, that is too short, or that cannot be created."""
    setting = settings.get("JupyterHub", "cookie_secret_file")
    if setting.origin is None or not isinstance(setting.value, str):
        return
    file = settings.layout.hub_state / setting.value
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


def unusable_database(settings: Settings) -> Iterator[Problem]:
    """Refuse a database in a directory that the hub cannot write to, or without its driver."""
    setting = settings.get("JupyterHub", "db_url")
    if setting.origin is None or not isinstance(setting.value, str):
        return
    dialect, separator, rest = setting.value.partition("://")
    scheme, _, driver = dialect.partition("+")
    if not separator and "/" not in setting.value:
        text = f"expected a URL such as 'sqlite:////srv/hub.sqlite', found {setting.value!r}"
        yield from setting.error(text)
    elif scheme == "sqlite" or not separator:
        path = rest.removeprefix("/").partition("?")[0] if separator else setting.value
        if path in ("", ":memory:"):
            yield from setting.warning("a database in memory loses all users at each reload")
        else:
            file = settings.layout.hub_state / unquote(path)
            yield from _unwritable(settings, setting, file)
    else:
        module = driver or _DRIVERS.get(scheme, "")
        if not module and scheme not in ("oracle", "mssql"):
            hint = did_you_mean(scheme, ["sqlite", "postgresql", "mysql"])
            yield from setting.error(f"there is no kind of database {scheme!r}{hint}")
        elif module and not _can_import(module):
            yield from setting.error(f"the driver {module} is not installed in the hub environment")


def unwritable_files(settings: Settings) -> Iterator[Problem]:
    """Refuse files where the hub's unit may not write."""
    for key in ("pid_file", "extra_log_file"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, str) and setting.value:
            yield from _unwritable(settings, setting, settings.layout.hub_state / setting.value)


def _unwritable(settings: Settings, setting: EffectiveSetting, file: Path) -> Iterator[Problem]:
    directory = file.parent
    layout = settings.layout
    if not directory.is_dir():
        yield from setting.error(f"there is no directory {directory} for {file.name}")
    elif settings.facts.is_service:
        writable = [layout.hub_state, Path("/run"), *map(Path, settings.facts.writable_paths)]
        real = directory.resolve()
        if not any(real.is_relative_to(path) for path in writable):
            yield from setting.error(
                f"the hub's unit may not write in {directory}; expected {layout.hub_state}, or a"
                f" drop-in with ReadWritePaths={directory} (systemctl edit {layout.hub_service})"
            )
        # Permissions come first: the sandbox alone refuses the rest (EROFS).
        elif (reason := why_unwritable(file if file.exists() else directory)) not in (0, EROFS):
            yield from setting.error(
                f"the hub may not write {file} ({os.strerror(reason)}); expected {layout.hub_state}"
            )
    elif directory.stat().st_uid != os.geteuid() and not directory.stat().st_mode & stat.S_IWOTH:
        yield from setting.error(f"you may not write in {directory}; expected a directory of yours")


def _is_readable(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return True
    except OSError:
        return False


def _can_import(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
