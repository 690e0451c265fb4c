"""Where everything is: the only module that knows paths, unit names and user names."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError

DEFAULT_BASE = Path("/opt/littlest-hub")
PRODUCT = "littlest-hub"

# The last part of the base directory becomes part of unit names and of a system user's name.
# 20: "lhub-" + name + "-proxy" has to fit the 31 characters that sysusers.d(5) allows.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?")
# Nothing that systemd.unit(5) splits at, expands or unquotes: paths appear in units as they are.
_PATH = re.compile(r"/[A-Za-z0-9._+/-]*")
# What `escaped` escapes, and how much of a name it leaves: a unit's has at most 255 characters.
_ESCAPED = re.compile(r"^\.|_(?=x)|[^A-Za-z0-9_.-]")
LONGEST_PART = 75
# Directories that ProtectHome= and PrivateTmp= hide from our own services.
_HIDDEN = ("/home", "/root", "/run", "/tmp", "/var/tmp", "/dev", "/proc", "/sys")
# What follows a hub's name in those of its other units and of its directories in /run.
_BESIDE_A_HUB = ("-proxy", "-proxy-api", "-proxy-https", "-password", "-servers")


class Layout(NamedTuple):
    """All names of one installation, derived from its base directory."""

    base: Path
    """The base directory as the machine sees it, absolute."""

    root: Path = Path("/")
    """Where that machine's file system is: "/" or, as for systemctl --root, an image of it."""

    @classmethod
    def of_prefix(cls, prefix: Path, root: Path = Path("/")) -> Layout:
        """The layout that a conda prefix BASE/releases/VERSION belongs to.

        Raises:
            LittlestHubError: the prefix lies elsewhere; the hint is the command that is right.
        """
        if prefix.parent.name == "releases" and prefix.is_absolute():
            return cls(prefix.parent.parent, root)
        wanted = prefix if prefix.is_absolute() else DEFAULT_BASE
        raise LittlestHubError(
            f"{prefix} cannot be used: a release is installed at BASE/releases/VERSION",
            f"Install with: -p {wanted}/releases/{__version__}"
            f"  (or LITTLEST_HUB_BASE={wanted} and no -p)",
        )

    @classmethod
    def of_this_release(cls, root: Path = Path("/")) -> Layout:
        """The layout that the running interpreter belongs to.

        Raises:
            LittlestHubError: this interpreter is not that of an installed release.
        """
        return cls.of_prefix(release_of_this_interpreter(), root)

    @property
    def name(self) -> str:
        """What tells this installation from another on the same machine."""
        return self.base.name

    @property
    def is_default(self) -> bool:
        return self.base == DEFAULT_BASE

    @property
    def is_live(self) -> bool:
        """Whether this is the machine we run on, not an image of one."""
        return self.root == Path("/")

    @property
    def instance(self) -> str:
        """First part of every unit's name: littlest-hub, littlest-hub-physics."""
        if self.name == PRODUCT or self.name.startswith(f"{PRODUCT}-"):
            return self.name
        return f"{PRODUCT}-{self.name}"

    # --- the base directory

    @property
    def hub(self) -> Path:
        """The active release, a relative symlink."""
        return self.base / "hub"

    @property
    def releases(self) -> Path:
        return self.base / "releases"

    @property
    def unit_files(self) -> Path:
        """Our unit files, linked from where systemd looks for them."""
        return self.base / "units"

    @property
    def fragments(self) -> Path:
        """The admin's configuration."""
        return self.base / "jupyterhub_config.d"

    @property
    def catalogue(self) -> Path:
        """Ready fragments that the active release brings along."""
        return self.hub / "share" / PRODUCT / "jupyterhub_config.d"

    @property
    def enabled(self) -> Path:
        """Which of them were copied, by their sha256: what the admin has changed is his."""
        return self.state / "enabled.json"

    @property
    def state(self) -> Path:
        """What the hub remembers; nobody but root enters (0700), or the hub's user (0710)."""
        return self.base / "state"

    @property
    def own_state(self) -> Path:
        """The part of `state` that belongs to the hub's user, where that is not root."""
        return self.state / "hub"

    @property
    def hub_user(self) -> str | None:
        """Who the hub runs as, if not as root: whoever `own_state` belongs to.

        Only root makes anything in `state`, so only root decides this.
        """
        try:
            owner = self.on_disk(self.own_state).owner()
        except (OSError, KeyError):
            return None
        return None if owner == "root" else owner

    @property
    def hub_state(self) -> Path:
        """Where the hub writes: database, cookie secret, copies."""
        try:
            is_own = self.on_disk(self.own_state).is_dir()
        except PermissionError:  # of one who may not see either
            is_own = False
        return self.own_state if is_own else self.state

    @property
    def database(self) -> Path:
        return self.hub_state / "jupyterhub.sqlite"

    @property
    def cookie_secret(self) -> Path:
        return self.hub_state / "jupyterhub_cookie_secret"

    @property
    def run_lock(self) -> Path:
        """Held by a hub in the foreground (`littlest-hub run`); its process id is in it."""
        return self.state / "run.lock"

    @property
    def change_lock(self) -> Path:
        """Held by whatever changes the installation; its process id is in it."""
        return self.state / "change.lock"

    @property
    def switch_record(self) -> Path:
        """From which release to which the last switch was, and whether it is done (JSON)."""
        return self.state / "switch.json"

    @property
    def upgrade_log(self) -> Path:
        """One line for each beginning and end of a switch."""
        return self.state / "upgrades.log"

    @property
    def backups(self) -> Path:
        """Copies of the database, and what `littlest-hub backup` writes."""
        return self.hub_state / "backups"

    @property
    def proxy_state(self) -> Path:
        """The one part of `state` that the proxy sees."""
        return self.state / "proxy"

    @property
    def static_config(self) -> Path:
        """The proxy's static configuration: ports, logs, time limits."""
        return self.proxy_state / "traefik.toml"

    @property
    def dynamic_config(self) -> Path:
        """Directory of the proxy's dynamic configuration, watched by it."""
        return self.proxy_state / "dynamic"

    @property
    def ready_config(self) -> Path:
        """How the proxy's supervisor learns that the rules beside it are loaded."""
        return self.dynamic_config / "ready.toml"

    @property
    def rules(self) -> Path:
        """The part of the dynamic configuration that the hub writes: who is where."""
        return self.dynamic_config / "rules.toml"

    @property
    def https_marker(self) -> Path:
        """There while fragments ask for HTTPS: what the condition of its socket unit looks at."""
        return self.proxy_state / "https"

    @property
    def https_config(self) -> Path:
        """The part of the dynamic configuration with certificate, key and TLS options."""
        return self.dynamic_config / "https.toml"

    @property
    def makeshift_config(self) -> Path:
        """The part of the dynamic configuration with a certificate for who would get none.

        Last in the alphabet: of two default certificates, traefik takes that of the first file.
        """
        return self.dynamic_config / "zz-makeshift.toml"

    @property
    def redirect_config(self) -> Path:
        """The part of the dynamic configuration that leads from http to https."""
        return self.dynamic_config / "redirect.toml"

    @property
    def acme(self) -> Path:
        """The one directory that the proxy writes to: account and certificates of ACME."""
        return self.proxy_state / "acme"

    @property
    def acme_storage(self) -> Path:
        return self.acme / "acme.json"

    @property
    def acme_ca(self) -> Path:
        """A copy of c.HubProxy.acme_ca_file where the proxy sees it."""
        return self.proxy_state / "acme-ca.pem"

    # --- the machine around it

    @property
    def hub_service(self) -> str:
        return f"{self.instance}.service"

    @property
    def hub_socket(self) -> str:
        return f"{self.instance}.socket"

    @property
    def proxy_service(self) -> str:
        return f"{self.instance}-proxy.service"

    @property
    def proxy_socket(self) -> str:
        return f"{self.instance}-proxy.socket"

    @property
    def proxy_api_socket(self) -> str:
        return f"{self.instance}-proxy-api.socket"

    @property
    def proxy_https_socket(self) -> str:
        return f"{self.instance}-proxy-https.socket"

    @property
    def units(self) -> tuple[str, ...]:
        """Every unit of ours that is started, sockets first: the order in which to do so."""
        return (
            self.hub_socket,
            self.proxy_socket,
            self.proxy_api_socket,
            self.proxy_https_socket,
            self.proxy_service,
            self.hub_service,
        )

    @property
    def user_unit_template(self) -> str:
        """What `server_unit` makes the names of user servers' units from.

        A "." ends the instance's name, which has none: no two hubs' users share a name.
        """
        return f"{self.instance}.user{'@' if self.hub_user else '-'}{{USERNAME}}"

    def user_unit(self, user: str, server: str = "") -> str:
        """Name of the unit of a user server, without its suffix."""
        return server_unit(self.user_unit_template, user, server)

    @property
    def user_units(self) -> str:
        """Pattern of the names of all user servers' units, for systemctl and journalctl."""
        return f"{self.instance}.user[-@]*.service"

    @property
    def proxy_user(self) -> str:
        """Name that the proxy's user has while it runs: lhub-proxy, lhub-physics-proxy."""
        return f"{self.instance.replace(PRODUCT, 'lhub', 1)}-proxy"

    # What a hub that is not root has besides: services/unprivileged.py.

    @property
    def user_template(self) -> str:
        """Unit of user servers: root's, so that the hub decides no more than who and when."""
        return f"{self.instance}.user@.service"

    @property
    def password_socket(self) -> str:
        return f"{self.instance}-password.socket"

    @property
    def password_service(self) -> str:
        return f"{self.instance}-password@.service"

    @property
    def password_address(self) -> Path:
        """Where the hub asks whether a password is right."""
        return Path("/run") / f"{self.instance}-password"

    @property
    def unprivileged_units(self) -> tuple[str, ...]:
        """Units that only a hub that is not root has."""
        return (self.password_socket, self.password_service, self.user_template)

    @property
    def users_group(self) -> str:
        """Whose members a hub that is not root may let in and start servers for."""
        return f"{self.instance.replace(PRODUCT, 'lhub', 1)}-users"

    @property
    def polkit_rule(self) -> Path:
        """What that hub may ask of systemd."""
        return Path("/etc/polkit-1/rules.d") / f"50-{self.instance}.rules"

    @property
    def users_slice(self) -> str:
        """What all user servers are in. None of `units`: to stop it is to stop all of them."""
        return f"{self.instance}-users.slice"

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Every unit that has a file of ours, or may have."""
        return (*self.units, self.users_slice, *self.unprivileged_units)

    @property
    def system_units(self) -> Path:
        return Path("/etc/systemd/system")

    @property
    def hub_drop_ins(self) -> Path:
        """Where what the administrator changes of the hub's unit is."""
        return self.system_units / f"{self.hub_service}.d"

    @property
    def command_link(self) -> Path:
        return Path("/usr/local/bin") / PRODUCT

    @property
    def run_directory(self) -> Path:
        """RuntimeDirectory= of the hub."""
        return Path("/run") / self.instance

    @property
    def readiness(self) -> Path:
        """Rewritten each time a hub starts to answer; how a reload sees its end."""
        return self.run_directory / "ready"

    @property
    def proxy_control(self) -> Path:
        """Where the proxy's supervisor is asked for a reload."""
        return Path("/run") / f"{self.instance}-proxy" / "control"

    @property
    def server_environments(self) -> Path:
        """Environments of user servers, tokens among it: UNIT.env; nobody but root enters."""
        return Path("/run") / f"{self.instance}-servers"

    @property
    def dynamic_homes(self) -> tuple[Path, Path]:
        """Where systemd keeps homes of users it lends (DynamicUser=): links, and what they mean."""
        name = f"{self.instance}-homes"
        return Path("/var/lib") / name, Path("/var/lib/private") / name

    def dynamic_user(self, user: str) -> str:
        """Name of the system user that somebody is lent: one for all of their servers."""
        import hashlib  # which is a megabyte, and not for supervisors

        digest = hashlib.sha256(f"{self.instance}/{user}".encode()).hexdigest()
        return f"lhub-{digest[:16]}"

    @property
    def former_homes(self) -> Path:
        """Such homes of people who have left; only root gets there."""
        return Path("/var/lib/private") / f"{self.instance}-former-homes"

    @property
    def home_owners(self) -> Path:
        """Whose each of these homes is: a user who is made anew under an old name is another."""
        return self.state / "homes"

    # --- on disk

    def on_disk(self, path: Path) -> Path:
        """Where `path` of the machine is found from here."""
        return self.root / path.relative_to("/")

    def installed_unit(self, name: str) -> Path:
        """A unit file on disk, behind its link if that is what systemd has."""
        file = self.on_disk(self.system_units) / name
        if file.is_symlink() and file.readlink().is_absolute():
            # In an image, an image's.
            return self.on_disk(file.readlink())
        return file

    def drop_in_directories(self) -> list[Path]:
        """Directories of the administrator's drop-ins of our units, user servers' included."""
        exact = {f"{unit}.d" for unit in self.unit_names}
        servers = (f"{self.instance}.user-", f"{self.instance}.user@")
        return sorted(
            self.system_units / found.name
            for found in self.on_disk(self.system_units).glob("*.d")
            if found.is_dir()
            and (
                found.name in exact
                or (found.name.startswith(servers) and found.name.endswith(".service.d"))
            )
        )

    def fragment_files(self) -> list[Path]:
        """The administrator's fragments on disk, in the order in which they count.

        Raises:
            PermissionError: they are not ours to read; there may be secrets in them.
        """
        return [file for file in self._beside_fragments() if file.suffix == ".py"]

    def ignored_files(self) -> list[Path]:
        """What lies beside the fragments without being one.

        Raises:
            PermissionError: as `fragment_files`.
        """
        return [file for file in self._beside_fragments() if file.suffix != ".py"]

    def _beside_fragments(self) -> list[Path]:
        try:
            present = list(self.on_disk(self.fragments).iterdir())
        except FileNotFoundError:
            return []
        # A leading dot: hidden from the administrator, such as the locks of editors.
        return sorted(file for file in present if not file.name.startswith("."))

    def check_for_systemd(self) -> None:
        """Refuse a base directory that units cannot be made for.

        Raises:
            LittlestHubError: its name or its place.
        """
        if not _PATH.fullmatch(str(self.base)) or ".." in self.base.parts:
            raise LittlestHubError(
                f"base directory {str(self.base)!r}: only letters, digits and . _ + - / may be in"
                " the path, for it stands in systemd units",
                f"Choose another, such as {DEFAULT_BASE}",
            )
        if not _NAME.fullmatch(self.name):
            raise LittlestHubError(
                f"base directory {self.base}: its last part names the units and a system user, so"
                " it has to be 1 to 20 lower-case letters, digits and inner dashes,"
                f" not {self.name!r}",
                f"Choose another, such as {DEFAULT_BASE} or /srv/physics",
            )
        # Users: a part of slices' names, and those of "a-users-b" are inside "a-users".
        is_taken = self.instance.endswith(_BESIDE_A_HUB) or "-users-" in f"{self.instance}-"
        if is_taken:
            raise LittlestHubError(
                f"base directory {self.base}: {self.instance!r} is how what belongs to a"
                " hub is named",
                "Choose another last part",
            )
        for hidden in _HIDDEN:
            if self.base.is_relative_to(hidden):
                raise LittlestHubError(
                    f"base directory {self.base}: services do not see {hidden}, they are"
                    " sandboxed away from it",
                    f"Choose another, such as {DEFAULT_BASE}; or install as an ordinary user",
                )


def release_of_this_interpreter() -> Path:
    """The conda prefix we run from, not the `hub` link that may point elsewhere tomorrow."""
    return Path(sys.prefix).resolve()


def server_unit(template: str, user: str, server: str = "", user_id: int = 0) -> str:
    """Name of a user server's unit, without its suffix: no two servers share one.

    Args:
        template: what stands for the user in it is {USERNAME} or {USERID}.
        user: the hub's name for the user.
        server: name of a named server; "": the default one.
        user_id: the hub's number for the user.
    """
    name = template.format(USERNAME=escaped(user), USERID=user_id)
    return f"{name}:{escaped(server)}" if server else name


def escaped(name: str) -> str:
    """A name as part of the names of units and files: letters, digits and . _ - alone.

    Each other byte becomes "_x" and its two hexadecimal digits, as do a "." at the beginning and
    the "_" of a "_x" that was there before; so different names stay different. Of a long one only
    the beginning is kept, and "_xh" with a digest, which no other can contain.
    """
    text = _ESCAPED.sub(lambda found: "".join(f"_x{b:02x}" for b in found[0].encode()), name)
    if len(text) <= LONGEST_PART:
        return text
    import hashlib

    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{text[:40]}_xh{digest}"
