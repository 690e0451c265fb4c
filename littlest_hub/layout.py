"""Paths and names of an installation, derived from its base directory; no input or output.

`littlest_hub.installation` reads from the disk the one fact that they depend on: the hub's user.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import NamedTuple

from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError, as_typed

DEFAULT_BASE = Path("/opt/littlest-hub")
PRODUCT = "littlest-hub"
SERVER_PACKAGES = "LITTLEST_HUB_PACKAGES"
"""Variable of a user server that names its overlay."""

# The characters that `escaped` escapes, and the longest result (a unit's name has at most 255).
_ESCAPED = re.compile(r"^\.|_(?=x)|[^A-Za-z0-9_.-]")
LONGEST_PART = 75
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
RESERVED_SUFFIXES = (
    *("-proxy", "-proxy-api", "-proxy-https", "-password", "-hook", "-guard", "-servers"),
)
"""Suffixes that a hub's other units and its directories in /run have."""


class PackageSet(enum.StrEnum):
    """A set of packages besides those of the release; only its own programs import from it."""

    HUB = "hub"
    """Packages of the hub: authenticators, spawners."""
    SERVER = "server"
    """Packages of user servers: extensions of Jupyter."""
    TOOLS = "tools"
    """Programs that stacks run."""

    @property
    def option(self) -> str:
        """The option of `littlest-hub packages add` that names the set; "": no option does."""
        return {"server": "--server", "tools": "--tool"}.get(self, "")


class _Fields(NamedTuple):
    """The facts that all names and paths are derived from."""

    base: Path
    """The base directory as the machine sees it, absolute."""

    root: Path = Path("/")
    """The machine's file system as we see it: "/" or, as for systemctl --root, an image."""

    hub_user: str | None = None
    """The user that the hub runs as; None: root."""


class _Name:
    """A name composed of other names: "{self.instance}.service".

    In the format string, `self` is the layout.
    """

    def __init__(self, template: str) -> None:
        self.template = template

    def __get__(self, names: _Fields, _: type) -> str:
        return self.template.format(self=names)


class _Path:
    """The same as `_Name`, returning a Path: "{self.base}/releases"."""

    def __init__(self, template: str) -> None:
        self.template = template

    def __get__(self, layout: _Fields, _: type) -> Path:
        return Path(self.template.format(self=layout))


class Names(_Fields):
    """Names of an installation's units, users and groups."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The last part of the base directory; unique on a machine."""
        return self.base.name

    @property
    def instance(self) -> str:
        """First part of every unit's name: littlest-hub, littlest-hub-physics."""
        if self.name == PRODUCT or self.name.startswith(f"{PRODUCT}-"):
            return self.name
        return f"{PRODUCT}-{self.name}"

    hub_service = _Name("{self.instance}.service")
    hub_socket = _Name("{self.instance}.socket")
    proxy_service = _Name("{self.instance}-proxy.service")
    proxy_socket = _Name("{self.instance}-proxy.socket")
    proxy_api_socket = _Name("{self.instance}-proxy-api.socket")
    proxy_https_socket = _Name("{self.instance}-proxy-https.socket")
    guard_socket = _Name("{self.instance}-guard.socket")
    guard_service = _Name("{self.instance}-guard.service")
    users_slice = _Name("{self.instance}-users.slice")
    """The slice of all user servers, not in `started_unit_names`: stopping it stops all of them."""

    @property
    def started_unit_names(self) -> tuple[str, ...]:
        """Names of the units to start, in this order: sockets first."""
        return (
            self.hub_socket,
            self.proxy_socket,
            self.proxy_api_socket,
            self.proxy_https_socket,
            self.guard_socket,
            self.guard_service,
            self.proxy_service,
            self.hub_service,
        )

    @property
    def all_unit_names(self) -> tuple[str, ...]:
        """Names of all units that an installation may have a file for."""
        return (
            *self.started_unit_names,
            self.users_slice,
            *self.helper_units,
            self.user_template_unit,
        )

    @property
    def proxy_user(self) -> str:
        """The proxy's dynamic user: lhub-proxy, lhub-physics-proxy."""
        return f"{self.instance.replace(PRODUCT, 'lhub', 1)}-proxy"

    # --- user servers

    @property
    def user_unit_format(self) -> str:
        """Format string of the names of user servers' units, for `server_unit`.

        The "." ends the instance's name, which contains none, so no two hubs share a name.
        """
        return f"{self.instance}.user{'@' if self.hub_user else '-'}{{USERNAME}}"

    def user_unit(self, user: str, server: str = "") -> str:
        """Return the name of the unit of a user server, without its suffix."""
        return server_unit(self.user_unit_format, user, server)

    log_namespace = _Name("{self.instance}-users")
    """The journal of all user servers (systemd-journald.service(8), "Journal Namespaces")."""

    user_unit_pattern = _Name("{self.instance}.user[-@]*.service")
    """Pattern of the names of all user servers' units, for systemctl and journalctl."""

    def dynamic_user(self, user: str) -> str:
        """Return the name of a hub user's dynamic system user, shared by all of their servers."""
        import hashlib  # takes a megabyte, which supervisors shall not pay for

        digest = hashlib.sha256(f"{self.instance}/{user}".encode()).hexdigest()
        return f"lhub-{digest[:16]}"

    stack_unit_pattern = _Name("{self.instance}.*.*")
    """Pattern of the names of stacks' units; others match too (`units.stack.is_stack_unit`)."""

    def stack_unit(self, stack: str, suffix: str) -> str:
        """Return the name of a stack's unit; no instance contains the "." before the stack."""
        return f"{self.instance}.{stack}{suffix}"

    # --- root's helpers (units/helpers.py)

    password_socket = _Name("{self.instance}-password.socket")
    password_service = _Name("{self.instance}-password@.service")

    hook_socket = _Name("{self.instance}-hook.socket")
    hook_service = _Name("{self.instance}-hook@.service")

    @property
    def helper_sockets(self) -> tuple[str, ...]:
        """Sockets that systemd starts a helper for at each connection."""
        return (self.password_socket, self.hook_socket)

    @property
    def helper_units(self) -> tuple[str, ...]:
        """Units of the helpers that run as root."""
        return (
            self.password_socket,
            self.password_service,
            self.hook_socket,
            self.hook_service,
        )

    # --- a hub that is not root (units/unprivileged.py)

    user_template_unit = _Name("{self.instance}.user@.service")
    """Template unit of user servers; root's, so that the hub decides only who and when."""

    @property
    def users_group(self) -> str:
        """The group whose members the hub may log in and start servers for."""
        return f"{self.instance.replace(PRODUCT, 'lhub', 1)}-users"


class Layout(Names):
    """All names and paths of one installation."""

    __slots__ = ()

    @classmethod
    def from_path(cls, prefix: Path, root: Path = Path("/")) -> Layout:
        """Return the layout that a conda prefix BASE/releases/VERSION belongs to.

        `hub_user` stays None, since only the disk tells it: `installation.of_prefix`.

        Raises:
            LittlestHubError: the prefix lies elsewhere; the hint is the correct command.
        """
        if prefix.parent.name == "releases" and prefix.is_absolute():
            return cls(prefix.parent.parent, root)
        wanted = prefix if prefix.is_absolute() else DEFAULT_BASE
        raise LittlestHubError(
            f"{prefix} cannot be used: a release is installed at BASE/releases/VERSION",
            f"Install with: -p {wanted}/releases/{__version__}"
            f"  (or LITTLEST_HUB_BASE={wanted} and no -p)",
        )

    @property
    def is_default(self) -> bool:
        return self.base == DEFAULT_BASE

    @property
    def command(self) -> str:
        """The `littlest-hub` command as a person types it."""
        return as_typed(PRODUCT if self.is_default else f"{self.hub}/bin/{PRODUCT}")

    @property
    def is_live(self) -> bool:
        """True on the machine itself, False for an image of one."""
        return self.root == Path("/")

    def on_disk(self, path: Path) -> Path:
        """Return where a path of the machine is found from here."""
        return self.root / path.relative_to("/")

    # --- the base directory

    hub = _Path("{self.base}/hub")
    """The active release, a relative symlink."""
    releases = _Path("{self.base}/releases")
    unit_directory = _Path("{self.base}/units")
    """Directory of our unit files; systemd's directory has links to them."""
    fragments = _Path("{self.base}/jupyterhub_config.d")
    """The administrator's configuration."""
    root_hooks = _Path("{self.fragments}/root-hooks")
    """The administrator's programs that root runs for the hub (helpers/hooks.py)."""
    catalogue = _Path("{self.hub}/share/littlest-hub/jupyterhub_config.d")
    """Ready fragments of the active release."""
    documentation = _Path("{self.hub}/share/littlest-hub/docs")
    """The pages of docs/, as of the active release."""

    advisories = _Path("{self.hub}/share/littlest-hub/advisories.json")
    """Known vulnerabilities of packages, as of the active release."""

    packages = _Path("{self.base}/packages")
    """Packages of the administrator's, for hub, user servers and stacks; everyone may read."""
    wheels = _Path("{self.packages}/wheels")
    """The wheels that overlays are made of, kept for the next release."""
    audit = _Path("{self.packages}/audit.json")
    """The last answer of the package index about vulnerabilities."""
    overlays = _Path("{self.packages}/overlays")
    """RELEASE/DIGEST: packages beside a release; RELEASE/active: a link to the one in use."""
    environments = _Path("{self.base}/environments")
    """Environments of kernels that users share: NAME is a link to the present generation."""

    # --- state

    state = _Path("{self.base}/state")
    """Data that outlives a release; only root may enter (0700), or the hub's user (0710)."""
    hub_user_state = _Path("{self.state}/hub")
    """The part of `state` that belongs to `hub_user`; unused if that is root."""

    @property
    def hub_state(self) -> Path:
        """The directory that the hub writes to: `hub_user_state` or, if it is root, `state`.

        It contains the database, the cookie secret and copies.
        """
        return self.hub_user_state if self.hub_user else self.state

    database = _Path("{self.hub_state}/jupyterhub.sqlite")
    cookie_secret = _Path("{self.hub_state}/jupyterhub_cookie_secret")
    backups = _Path("{self.hub_state}/backups")
    """Copies of the database, and the files that `littlest-hub backup` writes."""
    last_backup = _Path("{self.hub_state}/last-backup.json")
    enabled = _Path("{self.state}/enabled.json")
    """sha256 of each fragment as copied from the catalogue, to recognize later changes."""
    run_lock = _Path("{self.state}/run.lock")
    """Lock of a hub in the foreground (`littlest-hub run`), with its process id."""
    run_password = _Path("{self.state}/run-password")
    """The password of a hub in the foreground, kept for the next time."""
    change_lock = _Path("{self.state}/change.lock")
    """Lock of a process that changes the installation, with its process id."""
    switch_record = _Path("{self.state}/switch.json")
    """The last switch between releases, and whether it is done (JSON)."""
    backup_lock = _Path("{self.hub_state}/backup.lock")
    """Held by `littlest-hub backup` and `restore`."""
    restore_record = _Path("{self.hub_state}/restore.json")
    """The exchange of files that a restore has decided on; removed at its end (JSON)."""
    restore_lock = _Path("{self.hub_state}/restore.lock")
    """Held while a restore renames files; a hub that starts waits for it."""
    upgrade_log = _Path("{self.state}/upgrades.log")
    """One line for each beginning and end of a switch."""
    home_owners = _Path("{self.state}/homes")
    """The hub user that owns each dynamic home; a user created again gets a new one."""

    # --- stacks

    stacks_record = _Path("{self.state}/stacks.json")
    """The stacks that are enabled, and how their questions were answered (JSON)."""
    stacks = _Path("{self.state}/stacks")
    """A directory for each stack."""

    def stack_token(self, stack: str) -> Path:
        """Return the file with the token of a stack's service; only the hub's user may read it."""
        return self.stacks / stack / "token"

    def stack_data(self, stack: str) -> Path:
        """Return the directory that a stack's service writes to, the only one."""
        return self.stacks / stack / "data"

    def stack_cache(self, stack: str) -> Path:
        """Return the directory for what a stack can make again; it is in no backup."""
        return self.stacks / stack / "cache"

    def stack_hub_data(self, stack: str) -> Path:
        """Return the hub's own directory for a stack, which only the hub's user may enter."""
        return self.hub_state / "stacks" / stack / "hub"

    unfinished_change = _Path("{self.state}/unfinished-change.json")
    """The files to put back if a change of stacks is killed; there only during one (JSON)."""

    # --- the proxy's state

    proxy_state = _Path("{self.state}/proxy")
    """The only part of `state` that the proxy sees."""
    static_config = _Path("{self.proxy_state}/traefik.toml")
    """The proxy's static configuration: ports, logs, time limits."""
    dynamic_config = _Path("{self.proxy_state}/dynamic")
    """Directory of the proxy's dynamic configuration, which it watches."""
    ready_config = _Path("{self.dynamic_config}/ready.toml")
    """A route that shows the proxy's supervisor that this directory is loaded."""
    routes = _Path("{self.dynamic_config}/rules.toml")
    """The routes that the hub writes."""
    https_marker = _Path("{self.proxy_state}/https")
    """Exists while the fragments enable HTTPS: the condition of the HTTPS socket unit."""
    https_config = _Path("{self.dynamic_config}/https.toml")
    """Certificate, key and TLS options."""
    default_certificate_config = _Path("{self.dynamic_config}/zz-default-certificate.toml")
    """A self-signed certificate for visitors that no other certificate fits.

    Last in the alphabet: of two default certificates, traefik takes that of the first file.
    """
    redirect_config = _Path("{self.dynamic_config}/redirect.toml")
    """The redirect from http to https."""
    acme = _Path("{self.proxy_state}/acme")
    """The only directory that the proxy writes to: account and certificates of ACME."""
    acme_storage = _Path("{self.acme}/acme.json")
    acme_ca = _Path("{self.proxy_state}/acme-ca.pem")
    """A copy of c.HubProxy.acme_ca_file in a place that the proxy sees."""

    # --- outside the base directory

    system_units = _Path("/etc/systemd/system")
    hub_drop_ins = _Path("{self.system_units}/{self.hub_service}.d")
    """Directory of the administrator's drop-ins of the hub's unit."""
    restore_guard = _Path("{self.hub_drop_ins}/unfinished-restore.conf")
    """Our drop-in that makes the hub wait for a restore; removed at its end."""
    change_guard = _Path("{self.hub_drop_ins}/unfinished-change.conf")
    """The same for a change of stacks."""
    command_link = _Path("/usr/local/bin/littlest-hub")
    polkit_rule = _Path("/etc/polkit-1/rules.d/50-{self.instance}.rules")
    """The polkit rule of a hub that is not root."""
    needrestart_config = _Path("/etc/needrestart/conf.d/{self.instance}.conf")
    """Our configuration of needrestart(1), which would restart user servers."""
    run_directory = _Path("/run/{self.instance}")
    """RuntimeDirectory= of the hub."""
    reload_outcome = _Path("{self.run_directory}/reload")
    """The end of the last reload: success, or the reason of its failure."""
    reload_environment = _Path("{self.run_directory}/environment")
    """Variables of the unit for the next hub; there only while it is reloaded."""
    unit_record = _Path("{self.run_directory}/unit")
    """Settings that drop-ins gave the hub's unit when it started."""
    last_failure = _Path("{self.run_directory}/failure")
    """The reason why the last attempt to start the hub failed."""

    def fragments_copy(self, pid: int | str) -> Path:
        """Return where the hub with a process id keeps the fragments that it was started with."""
        return self.run_directory / f"fragments-{pid}"

    proxy_control = _Path("/run/{self.instance}-proxy/control")
    """Control socket of the proxy's supervisor, for reloads."""
    guard_control = _Path("/run/{self.instance}-guard/control")
    """Control socket of the guard, for the hub."""
    held_ports = _Path("/run/{self.instance}-guard/ports.json")
    """The ports that the guard holds (JSON)."""
    password_address = _Path("/run/{self.instance}-password")
    """Socket of the PAM helper."""
    hook_address = _Path("/run/{self.instance}-hook")
    """Socket of the helper for root's hooks."""
    server_environments = _Path("/run/{self.instance}-servers")
    """Environments of user servers, with tokens: UNIT.env; only root may enter."""

    @property
    def dynamic_homes(self) -> tuple[Path, Path]:
        """Homes of dynamic users (DynamicUser=): systemd's links, and the directories."""
        name = f"{self.instance}-homes"
        return Path("/var/lib") / name, Path("/var/lib/private") / name

    former_homes = _Path("/var/lib/private/{self.instance}-former-homes")
    """Dynamic homes of deleted hub users; only root may enter."""


def server_unit(template: str, user: str, server: str = "", user_id: int = 0) -> str:
    """Return the name of a user server's unit, without its suffix; no two servers share one.

    Args:
        template: text with {USERNAME} or {USERID}.
        user: the hub's name for the user.
        server: name of a named server; "": the default server.
        user_id: the hub's number for the user.
    """
    name = expanded(template, USERNAME=escaped(user), USERID=user_id)
    return f"{name}:{escaped(server)}" if server else name


def expanded(text: str, **values: object) -> str:
    """Return a text in which {NAME} is the value of that name; every other brace stays."""
    return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), text)


def escaped(name: str) -> str:
    """Return a name as part of the names of units and files: letters, digits and . _ - alone.

    Any other byte becomes "_x" and its two hexadecimal digits. So do a leading "." and any "_"
    before an "x", so that no two names give the same result. A long name is cut, and ends in "_xh"
    and a digest, which no other result can contain.
    """
    text = _ESCAPED.sub(lambda found: "".join(f"_x{b:02x}" for b in found[0].encode()), name)
    if len(text) <= LONGEST_PART:
        return text
    import hashlib

    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{text[:40]}_xh{digest}"
