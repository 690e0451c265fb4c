"""Strategies of hypothesis for fragments: settings by their traits, and code.

The strategies know kinds of values (addresses, paths, accounts, functions …) and no mistake in
particular: the kind of a setting's values follows from its trait and the words in its name.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from jupyterhub.services.service import Service
from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, Dict, Enum, Float, Integer, List, Set, Union
from traitlets.config import Configurable

from littlest_hub.check import jupyterhub_api
from littlest_hub.hub.app import LittlestHub
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.spawner import UnitSpawner
from tests.fuzz import scene

CLASSES: tuple[type[Any], ...] = (
    LittlestHub,
    SystemAuthenticator,
    UnitSpawner,
    HubProxy,
    # Those that belong to no class of JupyterHub's.
    *(
        cls
        for cls in vars(jupyterhub_api).values()
        if isinstance(cls, type)
        and issubclass(cls, Configurable)
        and cls.__module__.startswith("littlest_hub.")
    ),
)
"""The classes that fragments configure by default."""


@dataclass(frozen=True)
class Piece:
    """One statement of a fragment, and what belongs to it on the machine."""

    about: str
    """The setting, or the kind of code."""
    text: str
    drop_in: str = ""
    """Lines of [Service] of the hub's unit."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files to write before, such as one that the drop-in names."""
    sysctl: str = ""
    """NAME=VALUE of the kernel that the machine boots with."""

    def __str__(self) -> str:
        belongs = [f"drop-in: {line}" for line in self.drop_in.splitlines()]
        belongs += [f"sysctl: {self.sysctl}"] if self.sysctl else []
        belongs += [f"{path}: {text!r}" for path, text in self.files.items()]
        return "\n".join([*(f"# {line}" for line in belongs), self.text])


# --- kinds of values

TEXTS = (
    "", "plain", "two words", "{USERNAME}", "x{USERNAME}x", "{}", "{x}", '{"a": 1}',
    "{'a': {'b': 'c'}}", "$HOME", "$$", "100%", "%h", "%%", "it's", 'a "b"', "a\\b", "a;b#c", "é",
)  # fmt: skip
ADDRESSES = (
    "", "127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "*", scene.HOST_NAME, "203.0.113.9",
)  # fmt: skip
PORTS = (0, 1, 80, 443, 8000, 15001, scene.TAKEN_PORT, scene.FREE_PORT, 65535)
DIRECTORIES = (*scene.DIRECTORIES, scene.PRIVATE, scene.NOWHERE, "/tmp", "/etc", "/run", ".", "")
FILES = (
    *scene.NOTES, *scene.KEYS, scene.CERTIFICATE,
    *(f"{directory}/new" for directory in (*scene.DIRECTORIES, scene.PRIVATE, scene.NOWHERE)),
    "/run/fuzz.new", "/tmp/new", "new", "sub/new", "", "/", scene.CLOSED,
)  # fmt: skip
USERS = (*scene.ACCOUNTS, scene.NO_ACCOUNT, "root", "nobody", "Ada", "")
NUMBERS = (0, 1, 2, 60, 10**6)
SIZES = ("0", "1M", "256M", "512M", "2G", "100T")
WORDS = ("", "/", "/lab", "/x", "x", "x/", "//x", "/x y", "/x?y=1")
# Bodies of functions; they are called with the hub's rights.
ACTIONS = (
    "pass",
    "Path({directory!r}, 'by-function').mkdir(exist_ok=True)",
    "Path({file!r}).write_text('x')",
    "Path({file!r}).read_text()",
    "subprocess.run(['mkdir', '-p', {directory!r} + '/by-function'], check=True)",
    "shutil.chown({file!r}, {user!r})",
    "assert Path('/home', {user!r}).exists()",
    "subprocess.run(['runuser', '-u', {user!r}, '--', 'true'], check=True)",
    "pwd.getpwnam({user!r})",
    "socket.create_connection(('127.0.0.1', {port!r}), 1).close()",
)
# Facts that code outside of functions finds: a hub must find the same as its check.
READINGS = (
    "os.environ.get({mark!r}, 'EMPTY')",
    "os.environ[{mark!r}]",
    "os.environ.get('PATH')",
    "Path(os.environ['CREDENTIALS_DIRECTORY'], 'fuzz').read_text()",
    "Path({file!r}).read_text()",
    "Path({file!r}).exists()",
    "Path({directory!r}).is_dir()",
    "os.access({directory!r}, os.W_OK)",
    "os.access({file!r}, os.R_OK)",
    "Path({file!r}).stat().st_uid",
    "pwd.getpwnam({user!r}).pw_dir",
    "Path('/home', {user!r}).exists()",
    "socket.gethostname()",
    "socket.gethostbyname({address!r})",
    "public_ips()[0]",
    "os.getuid()",
    "getpass.getuser()",
    "os.path.expanduser('~')",
    "os.getcwd()",
    "subprocess.run(['id', '-u'], check=True, capture_output=True, text=True).stdout",
    "socket.create_connection(('127.0.0.1', {port!r}), 1).close()",
)
IMPORTS = """\
import getpass, os, pwd, shutil, socket, subprocess
from pathlib import Path
from jupyter_client.localinterfaces import public_ips
"""
_COMMANDS = (
    ("sleep", "1000"),
    ("/usr/bin/python3", "-m", "http.server", "{port}"),
    ("sh", "-c", "echo x >{directory}/by-service && sleep 1000"),
    ("sh", "-c", "test $(id -un) = {user} && sleep 1000"),
    ("/no/such/program",),
    ("false",),
)
_DROP_INS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("Environment={mark}={word}", {}),
    ("EnvironmentFile={variables}", {scene.VARIABLES: "{mark}={word}\n"}),
    ("EnvironmentFile=-{nowhere}", {}),
    ("LoadCredential=fuzz:{credential}", {scene.CREDENTIAL: "{word}\n"}),
    ("ReadWritePaths={directory}", {}),
    ("PrivateUsers=no", {}),
    ("ProtectHome=tmpfs", {}),
    ("BindReadOnlyPaths={directory}", {}),
)
_SYSCTLS = (
    "net.ipv6.bindv6only=1",
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv4.ip_unprivileged_port_start=0",
    "net.ipv4.ip_local_port_range=15000 16000",
)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


_url = st.builds(
    lambda scheme, address, port, path: f"{scheme}://{_in_url(address)}:{port}{path}",
    st.sampled_from(("http", "https")),
    st.sampled_from(ADDRESSES),
    st.sampled_from(PORTS),
    st.sampled_from(("", "/", "/x", "/x/")),
)
_template = st.builds(
    lambda before, text: before + text,
    st.sampled_from(("", "jupyter-", "/home/", "/srv/")),
    st.sampled_from(TEXTS),
)
# By words in the name of a setting; the first one that matches counts.
_BY_NAME: tuple[tuple[str, st.SearchStrategy[Any]], ...] = (
    (r"_ips?$|^ip$|proxies$", st.sampled_from(ADDRESSES)),
    (r"port$", st.sampled_from(PORTS)),
    (r"template$|workingdir$", _template),
    (r"prefix$|base_url$|default_url$|routespec$", st.sampled_from(WORDS)),
    (r"url$|host$|directory$", st.one_of(_url, st.sampled_from(("", "x")))),
    (r"(file|cert|key|ca)$", st.sampled_from(FILES)),
    (r"(path|paths|dir|location|cwd)$", st.sampled_from(DIRECTORIES)),
    (r"users?$|admin|uids$", st.sampled_from(USERS)),
    (r"groups?$|whitelist$", st.sampled_from(("adm", "users", "no-such-group", scene.SOMEBODY))),
    (r"shell$", st.sampled_from(("/bin/sh", "/usr/bin/zsh", "sh", ""))),
    (r"slice$", st.sampled_from(("fuzz", "fuzz.slice", "system.slice", "a b"))),
    (r"scopes?$|roles?$", st.sampled_from(("self", "users", "read:users", "user", "no-such"))),
    (r"args$", st.sampled_from(TEXTS).map(lambda text: f"--Fuzz.text={text}")),
    (r"pattern$", st.sampled_from(("", "a.*", "[a-z]+", "("))),
    (r"service$", st.sampled_from(("login", "su", "other", "no-such", ""))),
)
_FUNCTIONS = re.compile(r"hook$|function|handler$|^options_f|^apply_user")
FUNCTION = "<function>"
"""Stands for the name of a function that is defined before."""

# Used by the trials themselves, programs instead of hubs, and destructive on purpose.
_LEFT_OUT = {
    "template_vars", "services", "load_roles", "authenticator_class", "spawner_class",
    "proxy_class", "generate_config", "generate_certs", "show_config", "show_config_json",
    "reset_db", "cmd", "add_user_cmd", "config_file", "any_allow_config", "log_level",
}  # fmt: skip


def _owner(cls: type[Any], name: str) -> str:
    """Return the class in whose name a setting is documented."""
    owner = [parent.__name__ for parent in cls.__mro__ if name in vars(parent)][-1]
    return {"Application": "JupyterHub", "UnitSpawner": "SystemdSpawner"}.get(owner, owner)


SETTINGS = tuple(
    (f"c.{_owner(cls, name)}.{name}", name, trait)
    for cls in CLASSES
    for name, trait in sorted(cls.class_traits(config=True).items())
    if name not in _LEFT_OUT
)


def values_of(name: str, trait: Any) -> st.SearchStrategy[str]:
    """Return the expressions that a trait should accept, and some at the border of it."""
    named = next((values for words, values in _BY_NAME if re.search(words, name)), None)
    texts = st.sampled_from(TEXTS) if named is None else named
    function = st.just(FUNCTION)
    if _FUNCTIONS.search(name):
        return function
    if isinstance(trait, Union):
        return st.one_of(*(values_of(name, each) for each in trait.trait_types), function)
    keys = st.sampled_from((*scene.ACCOUNTS, "MARK", "Environment", "x y"))
    elements = st.lists(texts, max_size=2, unique=True)
    # The first class that a trait is an instance of counts.
    kinds: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
        (Enum, st.sampled_from(list(getattr(trait, "values", None) or ("",)))),
        (List, elements),
        (Set, elements.map(set)),
        (Dict, st.dictionaries(keys, texts, max_size=2)),
        (Bool, st.booleans()),
        (ByteSpecification, st.sampled_from(SIZES)),
        (Integer, st.sampled_from(NUMBERS) if named is None else named),
        (Float, st.sampled_from((0.0, 0.001, 1.5, 10000.0))),
        (object, texts.map(str)),
    )
    return next(values for cls, values in kinds if isinstance(trait, cls)).map(repr)


def _filled(templates: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda template, **values: template.format(mark=scene.MARK, **values),
        st.sampled_from(templates),
        directory=st.sampled_from(DIRECTORIES),
        file=st.sampled_from(FILES),
        user=st.sampled_from(USERS),
        address=st.sampled_from(ADDRESSES),
        port=st.sampled_from(PORTS),
    )


@functools.cache
def _chosen(only: str) -> Sequence[tuple[str, str, Any]]:
    return [setting for setting in SETTINGS if re.search(only, setting[0])]


# --- statements


@st.composite
def settings(draw: st.DrawFn, only: str = "") -> Piece:
    """One setting whose name contains a pattern, with a value."""
    about, name, trait = draw(st.sampled_from(_chosen(only)))
    value = draw(values_of(name, trait))
    if value != FUNCTION:
        return Piece(about, f"{about} = {value}")
    start = draw(st.sampled_from(("def", "async def")))
    function = f"{name}_function"
    text = f"{start} {function}(*args, **kwargs):\n    {draw(_filled(ACTIONS))}\n"
    return Piece(about, f"{text}{about} = {function}")


@st.composite
def certificates(draw: st.DrawFn) -> Piece:
    """A certificate and its key: neither is of use alone."""
    certificate = draw(st.sampled_from((scene.CERTIFICATE, scene.CERTIFICATE, *scene.NOTES)))
    key = draw(st.sampled_from((*scene.KEYS, f"{scene.NOWHERE}/key", *scene.NOTES)))
    text = f"c.JupyterHub.ssl_cert = {certificate!r}\nc.JupyterHub.ssl_key = {key!r}"
    return Piece("c.JupyterHub.ssl_key", text)


@st.composite
def services(draw: st.DrawFn) -> Piece:
    """A service with some of the fields that a service has."""
    port = draw(st.sampled_from(PORTS))
    address = _in_url(draw(st.sampled_from(ADDRESSES)))
    user, directory = draw(st.sampled_from(USERS)), draw(st.sampled_from(DIRECTORIES))
    command = draw(st.sampled_from(_COMMANDS))
    possible: dict[str, Any] = {
        "url": f"http://{address}:{port}",
        "command": [each.format(port=port, user=user, directory=directory) for each in command],
        "user": user,
        "cwd": directory,
        "environment": {"MARK": draw(st.sampled_from(TEXTS))},
        "admin": True,
        "display": False,
        "api_token": draw(st.sampled_from(("", "short", "long-enough-0123456789"))),
        "oauth_redirect_uri": f"http://{address}/oauth",
        "oauth_no_confirm": True,
        "info": {"a": draw(st.sampled_from(TEXTS))},
    }
    assert possible.keys() <= Service.class_traits(input=True).keys()
    fields = draw(st.sets(st.sampled_from(sorted(possible)), max_size=5))
    service = {"name": draw(st.sampled_from(("s", "t", "a b", "é")))}
    service |= {name: possible[name] for name in sorted(fields)}
    return Piece("c.JupyterHub.services", f"c.JupyterHub.services.append({service!r})")


@st.composite
def readings(draw: st.DrawFn) -> Piece:
    """Code that reads something of the machine while it is loaded, often with a drop-in."""
    reading = draw(_filled(READINGS))
    text = f"FUZZ_SEEN.append(str({reading}))"
    about = re.sub(r"'[^']*'", "…", reading)
    if "environ" not in reading and draw(st.booleans()):
        return Piece(about, text)
    line, files = draw(st.sampled_from(_DROP_INS))
    values: dict[str, str] = {
        "mark": scene.MARK,
        "word": draw(st.sampled_from(("one", "two", "three"))),
        "variables": scene.VARIABLES,
        "credential": scene.CREDENTIAL,
        "nowhere": scene.NOWHERE,
        "directory": draw(st.sampled_from(tuple(scene.DIRECTORIES))),
    }
    filled = {path: content.format_map(values) for path, content in files.items()}
    about = f"{about} with {line.partition('=')[0]}="
    return Piece(about, text, line.format(**values), filled)


@st.composite
def hooks(draw: st.DrawFn, only: str = "") -> Piece:
    """A setting that is a function, of which administrators write many."""
    found = [each for each in _chosen(only) if _FUNCTIONS.search(each[1])]
    about, _, _ = draw(st.sampled_from(found))
    return draw(settings(rf"^{about}$"))


@st.composite
def sysctls(draw: st.DrawFn) -> Piece:
    """No statement, but a value that the kernel has otherwise than by default."""
    sysctl = draw(st.sampled_from(_SYSCTLS))
    return Piece(sysctl.partition("=")[0], "pass", sysctl=sysctl)


def fragments(only: str = "") -> st.SearchStrategy[list[Piece]]:
    """Fragments of several statements.

    Args:
        only: a pattern of the settings and kinds of code to generate; "": all of them.
    """

    def is_wanted(about: str) -> bool:
        return re.search(only, about) is not None

    # In these proportions.
    kinds = [settings(only)] * 17 if _chosen(only) else []
    if any(_FUNCTIONS.search(name) for _, name, _ in _chosen(only)):
        kinds += [hooks(only)]
    kinds += [services()] * 4 if is_wanted("c.JupyterHub.services") else []
    kinds += [certificates()] * 2 if is_wanted("c.JupyterHub.ssl_key") else []
    if any(map(is_wanted, READINGS)):
        kinds += [readings().filter(lambda piece: is_wanted(piece.about))] * 6
    if any(map(is_wanted, _SYSCTLS)):
        kinds += [sysctls().filter(lambda piece: is_wanted(piece.about))]
    piece = st.integers(0, len(kinds) - 1).flatmap(kinds.__getitem__)
    # As many as there are kinds, but not so few that a try is wasted, and not so many that those
    # which fail hide the others.
    least = min(5, len(_chosen(only))) or 1
    return st.lists(piece, min_size=least, max_size=14, unique_by=lambda each: each.about)


@st.composite
def fragments_together(draw: st.DrawFn, count: int, only: str = "") -> list[list[Piece]]:
    """Fragments that are loaded together: the later ones name none of the same settings.

    Most have no drop-in that only a restart applies, so that they are reloaded.
    """
    found: list[list[Piece]] = []
    named: set[str] = set()
    is_restarted = draw(st.integers(0, 3)) == 0
    for _ in range(count):
        pieces = [
            piece
            for piece in draw(fragments(only))
            if piece.about not in named
            and (is_restarted or not piece.drop_in or piece.drop_in.startswith("Environment"))
        ]
        named.update(piece.about for piece in pieces)
        found.append(pieces)
    return found
