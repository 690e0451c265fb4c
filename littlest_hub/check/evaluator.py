"""Running the fragments and judging what they set; what happens inside the sandbox."""

from __future__ import annotations

import contextlib
import difflib
import errno
import faulthandler
import importlib
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

from traitlets import TraitError
from traitlets.config import Configurable
from traitlets.config.loader import LazyConfigValue

from littlest_hub import installation
from littlest_hub.check import Problem, rules
from littlest_hub.check.origins import Place, RecordingConfig, is_section, place_of, place_of_frame
from littlest_hub.check.settings import Settings, did_you_mean
from littlest_hub.hub.light_imports import light
from littlest_hub.units.environment import UnitEnvironment

# A quarter of what a check takes.
with light():
    from jupyterhub.app import JupyterHub
    from jupyterhub.auth import Authenticator
    from jupyterhub.proxy import Proxy
    from jupyterhub.spawner import Spawner

    from littlest_hub.hub.config import FragmentError, complete, defaults, execute

FRAGMENT_S = 10
"""How long one fragment may take."""
DATA_BYTES = 1 << 30

_ROLES = {"authenticator_class": Authenticator, "spawner_class": Spawner, "proxy_class": Proxy}
_TRAIT = re.compile(r"^The '\w+' trait of an? .*? instance,? (?:must be|expected|contains) ?", re.S)
_DEPRECATED = re.compile(r"deprecat", re.IGNORECASE)
_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|keys?$|^(db_url|environment|services|consumers)$",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?<=://)\S*@|[\w.+-]+:(?!//)\S*@")
"""Name and password in a URL, or in what was meant to be one."""
# Not in this environment unless somebody has put it there.
_PACKAGES = {
    "DockerSpawner": "dockerspawner",
    "SwarmSpawner": "dockerspawner",
    "KubeSpawner": "jupyterhub-kubespawner",
    "SudoSpawner": "sudospawner",
    "YarnSpawner": "jupyterhub-yarnspawner",
    "SlurmSpawner": "batchspawner",
    "BatchSpawnerBase": "batchspawner",
    "ProfilesSpawner": "wrapspawner",
    "WrapSpawner": "wrapspawner",
    "OAuthenticator": "oauthenticator",
    "GenericOAuthenticator": "oauthenticator",
    "GitHubOAuthenticator": "oauthenticator",
    "GitLabOAuthenticator": "oauthenticator",
    "GoogleOAuthenticator": "oauthenticator",
    "AzureAdOAuthenticator": "oauthenticator",
    "CILogonOAuthenticator": "oauthenticator",
    "LDAPAuthenticator": "jupyterhub-ldapauthenticator",
    "NativeAuthenticator": "jupyterhub-nativeauthenticator",
    "FirstUseAuthenticator": "jupyterhub-firstuseauthenticator",
    "TmpAuthenticator": "jupyterhub-tmpauthenticator",
    "LTI11Authenticator": "jupyterhub-ltiauthenticator",
    "LTI13Authenticator": "jupyterhub-ltiauthenticator",
    "RemoteUserAuthenticator": "jhub_remote_user_authenticator",
}
# Of the user's server, not of the hub: people put them into the same file.
_OF_SERVERS = (
    "NotebookApp",
    "ServerApp",
    "LabApp",
    "SingleUserNotebookApp",
    "SingleUserLabApp",
    "MappingKernelManager",
    "ContentsManager",
    "FileContentsManager",
    "KernelSpecManager",
    "ResourceUseDisplay",
    "InteractiveShellApp",
    "IPKernelApp",
)


def run(request: Mapping[str, Any], report: int) -> None:
    """Run all fragments, and write what is wrong to a descriptor, one JSON object per line.

    Args:
        request: see `littlest_hub.check.examine`.
        report: a descriptor that nothing else writes to.
    """

    def say(**message: Any) -> None:
        os.write(report, f"{json.dumps(message)}\n".encode())

    def tell(problem: Problem) -> None:
        text = _USER_INFO.sub("…@", problem.message)
        say(problem=asdict(replace(problem, message=text)))

    layout = installation.of_base(Path(request["base"]))
    config = RecordingConfig()
    for section, values in defaults(layout, UnitEnvironment.from_environ()).items():
        config[section].update(values)
    with contextlib.suppress(OSError):
        os.chdir(layout.hub_state)  # where the hub is
    _limit()
    failed = False
    for name in request["files"]:
        say(running=name)
        for problem in _failure(Path(name), config, report):
            failed = True
            tell(problem)
    say(running="")
    with contextlib.suppress(Exception):
        complete(config)
    problems = set(judge(config, request))
    failed = failed or not all(problem.is_warning for problem in problems)
    for problem in sorted(problems):
        # What is wrong makes other things look odd that are not; first things first.
        if not (failed and problem.is_warning and not problem.line):
            tell(problem)
    for name, place in _domains(config):
        say(domain=(name, *place))
    say(done=True)


def _domains(config: RecordingConfig) -> Iterator[tuple[str, Place]]:
    """Names that somebody with a network should look up."""
    names = config.HubProxy.get("domains")
    for name in names if isinstance(names, list) else ():
        place = config.HubProxy.place("domains", name)
        if place and isinstance(name, str):
            yield name, place


class _TooLong(BaseException):
    """Not an Exception, which fragments catch."""

    def __init__(self, place: Place | None) -> None:
        super().__init__()
        self.place = place


def _failure(file: Path, config: RecordingConfig, report: int) -> Iterator[Problem]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise _TooLong(place_of_frame(frame))

    pid = os.getpid()
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(FRAGMENT_S)
    # For one that catches everything, or sits in a library's own code.
    faulthandler.dump_traceback_later(FRAGMENT_S + 2, exit=True, file=report)
    try:
        execute(file, config)
    except FragmentError as failed:
        error = failed.__cause__ or failed
        place = place_of(error, file)
        yield Problem(*place, f"{_reason(error, failed)}{_explanation(error)}")
    except _TooLong as late:
        place = late.place or Place(str(file), 1)
        reason = f"still at this line after {FRAGMENT_S} s; a fragment has to come to its end"
        yield Problem(*place, reason)
    except BaseException as error:
        yield Problem(*place_of(error, file), f"{type(error).__name__}: {error}")
    finally:
        if os.getpid() != pid:
            os._exit(0)  # a child that the fragment has made
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def _limit() -> None:
    """An error in the line that wants too much memory, rather than a machine without any."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reason(error: BaseException, failed: FragmentError) -> str:
    if isinstance(error, MemoryError):
        return f"MemoryError: wants more than {DATA_BYTES >> 30} GiB"
    if isinstance(error, OSError) and error.filename:
        return f"{type(error).__name__}: {error.filename}: {error.strerror}"
    return failed.reason


def _explanation(error: BaseException) -> str:
    """What an error means that only somebody who knows the sandbox, or traitlets, understands."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current and current not in chain:
        chain.append(current)
        reason = getattr(current, "reason", None)  # urllib's
        cause = reason if isinstance(reason, BaseException) else None
        current = cause or current.__cause__ or current.__context__
    if any(map(_misses_credential, chain)):
        return (
            "; the check has what LoadCredential= gives the hub, and not what SetCredential= or"
            " ImportCredential= does: put it into a file, and name that in LoadCredential="
        )
    numbers = {each.errno for each in chain if isinstance(each, OSError)}
    if numbers & {errno.EROFS}:
        return (
            "; fragments are read again for every check and reload, and may not write: write it"
            " beforehand, or in a hook that the hub calls (c.Spawner.pre_spawn_hook)"
        )
    unreachable = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
    is_network = bool(numbers & {*unreachable, errno.ECONNREFUSED, errno.EAFNOSUPPORT})
    if is_network or any(isinstance(each, socket.gaierror) for each in chain):
        return (
            "; fragments are checked without network: fetch it beforehand into a file, or ask in"
            " a hook that the hub calls (c.Authenticator.post_auth_hook, c.Spawner.pre_spawn_hook)"
        )
    if any(isinstance(each, subprocess.CalledProcessError) for each in chain):
        return (
            "; commands that fragments run are checked too, without rights, network and access to"
            " systemd"
        )
    if numbers & {errno.EACCES, errno.EPERM}:
        return "; fragments may read, and nothing else, while they are checked"
    text = str(error)
    if "LazyConfigValue" in text:
        return (
            "; nothing has set it so far: assign the whole value, or use its .append(), .extend()"
            " (lists), .update() (dicts, sets), .add() (sets)"
        )
    if isinstance(error, NameError) and ("'true'" in text or "'false'" in text):
        return "; Python has True and False"
    if isinstance(error, (ModuleNotFoundError, ImportError)):
        return "; the hub environment does not have it"
    return ""


def _misses_credential(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError):
        directory = os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials")
        return Path(str(error.filename)).is_relative_to(directory)
    return isinstance(error, KeyError) and error.args == ("CREDENTIALS_DIRECTORY",)


# --- judging


def judge(config: RecordingConfig, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with what the fragments have set.

    Args:
        config: defaults and fragments.
        facts: about the machine, see `littlest_hub.check.examine`.
    """
    logging.disable(logging.NOTSET)
    chosen: dict[str, type[Any]] = {"JupyterHub": JupyterHub}
    unresolved: set[str] = set()
    for name, role in _ROLES.items():
        value = config.JupyterHub.get(name, role_default(name))
        try:
            chosen[role.__name__] = _class(name, role, value)
        except (TraitError, ValueError) as error:
            place: Place | None = config.JupyterHub.place(name)
            unresolved.add(str(value).rpartition(".")[2])
            if place:
                yield Problem(*place, f"JupyterHub.{name}: {error}")
            chosen[role.__name__] = role
    if "EventLogger" in config:
        importlib.import_module("jupyter_events.logger")
    known = {cls.__name__: cls for cls in subclasses(Configurable)}
    yield from _sections(config, config, (), known, chosen, unresolved)
    settings = Settings(config, chosen, facts)
    for rule in rules.RULES:
        try:
            yield from rule(settings)
        except Exception as error:
            # Values of a wrong type are reported already; a rule may stumble over them.
            text = f"{rule.__name__.replace('_', ' ')}: not checked ({error!r})"
            yield Problem(facts["fragments"], 0, text, is_warning=True)


def _sections(
    config: RecordingConfig,
    values: RecordingConfig,
    path: tuple[str, ...],
    known: Mapping[str, type[Any]],
    chosen: Mapping[str, type[Any]],
    unresolved: set[str],
) -> Iterator[Problem]:
    for key in list(values):
        if is_section(key):
            if isinstance(values[key], RecordingConfig):
                inner = (config, values[key], (*path, key), known, chosen, unresolved)
                yield from _sections(*inner)
            continue
        place = values.place(key) if path else values.first_place(key)
        if place is None:
            continue
        section = path[-1] if path else ""
        where = ".".join((*path, key))
        if not path:
            hint = did_you_mean(key, known)
            yield Problem(*place, f"c.{key}: there is no class {key!r}{hint}")
        elif section not in known:
            if section not in unresolved:
                yield Problem(
                    *place, f"{where}: there is no class {section!r}{_who(section, known)}"
                )
        elif key not in known[section].class_traits(config=True):
            yield Problem(*place, f"{where}: {_no_such(section, key, known, chosen)}")
        else:
            yield from _value(where, known[section], key, values, place, chosen)


def _value(
    where: str,
    cls: type[Any],
    key: str,
    values: RecordingConfig,
    place: Place,
    chosen: Mapping[str, type[Any]],
) -> Iterator[Problem]:
    # What it is used for decides, not where it is defined: c.Spawner is for our spawner.
    for role in _ROLES.values():
        if issubclass(cls, role) and not issubclass(chosen[role.__name__], cls):
            used = chosen[role.__name__].__name__
            is_wrapped = chosen[role.__name__].__module__.startswith("wrapspawner")
            if not is_wrapped:
                text = f"{where}: has no effect, {_class_setting(role)} is {used}"
                yield Problem(*place, text, is_warning=True)
    cls = next((c for c in chosen.values() if issubclass(c, cls)), cls)
    if key in _ROLES and issubclass(cls, JupyterHub):
        return  # reported by `judge`
    value = values[key]
    if isinstance(value, LazyConfigValue):
        value, fault = _complete(cls, key, value)
        if fault:
            yield Problem(*place, f"{where}: {fault}")
            return
    try:
        remarks = validate(cls, key, value)
    except Exception as error:
        faults = list(_elements(cls, key, value, values))
        for faulty, text in faults or [(place, _text(key, value, error))]:
            yield Problem(*faulty, f"{where}: {text}")
    else:
        for remark in remarks:
            yield Problem(*place, f"{where}: {remark}", is_warning=True)


def _elements(
    cls: type[Any], key: str, value: Any, values: RecordingConfig
) -> Iterator[tuple[Place, str]]:
    """Each element of a container that would not be accepted in one by itself."""
    if not isinstance(value, (list, set, dict)):
        return
    for element in value.items() if isinstance(value, dict) else value:
        alone = dict([element]) if isinstance(value, dict) else type(value)([element])
        try:
            validate(cls, key, alone)
        except Exception as error:
            place = values.place(key, element)
            if place:
                yield place, _text(key, alone, error)


def _complete(cls: type[Any], key: str, lazy: Any) -> tuple[Any, str]:
    """What is appended to or merged into a default; or else what is wrong with that."""
    default = default_of(cls, key)
    used = {
        list: lazy._extend or lazy._prepend or lazy._inserts,
        dict: isinstance(lazy._update, dict) and lazy._update,
        set: isinstance(lazy._update, set) and lazy._update,
    }
    methods = {list: "append(), extend()", dict: "update() with a dict", set: "add(), update()"}
    kind = next((kind for kind in methods if isinstance(default, kind)), None)
    strangers = vars(lazy).keys() - vars(LazyConfigValue()).keys()
    wrong = [of for of, use in used.items() if use and of is not kind]
    if wrong and (kind or default is not None):
        expected = f"a {kind.__name__}: expected {methods[kind]}" if kind else f"{default!r}"
        return None, f"{methods[wrong[0]]} used on what is {expected}, or a whole value"
    if strangers:
        return None, f"has no .{sorted(strangers)[0]}; expected a whole value"
    if not any(used.values()):
        return default, ""
    if kind is None:
        return lazy._update or [*lazy._prepend, *lazy._extend], ""
    return lazy.get_value(default), ""


def default_of(cls: Any, key: str) -> Any:
    """A setting's default, without an object of the class; None if it takes one."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(cls.__new__(cls), key)
    return None


class _Remarks(logging.Handler):
    """Collects what a class says about its settings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def validate(cls: Any, key: str, value: Any) -> list[str]:
    """What the class has to say about a value that it takes: that the setting is deprecated.

    Raises:
        Exception: it would not take it.
    """
    instance = cls.__new__(cls)
    remarks = _Remarks()
    log = logging.Logger("trial")
    log.addHandler(remarks)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with contextlib.suppress(TraitError):
            instance.log = log
        try:
            setattr(instance, key, value)
        except (AttributeError, KeyError, AssertionError):
            # An observer that needs a whole object; the trait's own judgement will do.
            cls.class_traits()[key]._validate(cls.__new__(cls), value)
    texts = [*remarks.texts, *(str(each.message) for each in warned)]
    help_text = str(cls.class_traits()[key].help or "").strip()
    if re.match(r"\W*(pending )?deprecated", help_text, re.IGNORECASE):
        texts.append(help_text.split("\n\n")[0])
    return [" ".join(text.split()) for text in texts if _DEPRECATED.search(text)][:1]


def _text(key: str, value: Any, error: BaseException) -> str:
    """What a class says about a value, without the words that say again which setting it is."""
    text = " ".join(str(error).split()) or type(error).__name__
    found = _TRAIT.match(text)
    if found:
        verb = found[0].rstrip().rpartition(" ")[2]
        text = f"{'expected' if verb in ('be', 'expected') else verb} {text[found.end() :]}"
    elif not isinstance(error, (TraitError, ValueError)):
        text = f"{type(error).__name__}: {text}"
    if _SECRET.search(key):
        return _without(text, value)
    return text if repr(value) in text or len(repr(value)) > 200 else f"{text} (found {value!r})"


def _without(text: str, value: Any) -> str:
    """A text about a value that is not for everybody, or has such things in it."""
    text = text.replace(repr(value), "…")
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            text = _without(text, inner)
    elif len(str(value)) > 3:  # anything shorter is in every other word
        text = text.replace(str(value), "…")
    return text


def _class(name: str, role: type[Any], value: Any) -> type[Any]:
    """The class that a fragment chose.

    Raises:
        ValueError: it is none; which there are.
    """
    trait = JupyterHub.class_traits()[name]
    registry = trait.load_entry_points()
    if isinstance(value, str) and "." not in value and value.lower() not in registry:
        there_are = ", ".join(sorted(registry))
        package = _PACKAGES.get(value)
        hint = f"; {package} is not installed" if package else did_you_mean(value, registry)
        raise ValueError(
            f"there is no {role.__name__.lower()} {value!r}; expected one of {there_are}, a class,"
            f" or a name such as 'package.module.Class'{hint}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cls: Any = trait._validate(JupyterHub.__new__(JupyterHub), value)
    except Exception as error:
        if not isinstance(value, str):
            raise ValueError(_text(name, value, error)) from error
        names = [f"{c.__module__}.{c.__name__}" for c in subclasses(role)]
        module = value.partition(".")[0]
        reason: BaseException = error
        while reason.__cause__ or reason.__context__:
            reason = reason.__cause__ or reason.__context__ or reason
        package = _PACKAGES.get(value.rpartition(".")[2])
        hint = did_you_mean(value, names, cutoff=0.85)
        if isinstance(reason, ModuleNotFoundError) and reason.name == module and not hint:
            hint = f"; the package {package or module} is not installed in the hub environment"
        raise ValueError(f"cannot use {value!r}: {_text(name, value, reason)}{hint}") from error
    if not isinstance(cls, type):
        raise ValueError(f"expected a class, found {value!r}")
    return cls


def role_default(name: str) -> Any:
    """The class that JupyterHub takes if nobody chooses."""
    return default_of(JupyterHub, name)


def _class_setting(role: type[Any]) -> str:
    return next(f"JupyterHub.{name}" for name, each in _ROLES.items() if each is role)


def _who(section: str, known: Mapping[str, type[Any]]) -> str:
    """What could be meant by a class that there is not."""
    if section in _OF_SERVERS:
        return (
            ": it is a class of the users' servers; their settings are in"
            " /etc/jupyter/jupyter_server_config.py, or in c.Spawner.args"
        )
    if section in _PACKAGES:
        return f"; {_PACKAGES[section]} is not installed, or not imported by a setting or fragment"
    return did_you_mean(section, known)


def _no_such(
    section: str, key: str, known: Mapping[str, type[Any]], chosen: Mapping[str, type[Any]]
) -> str:
    traits = known[section].class_traits(config=True)
    if key in known[section].class_traits():
        return f"{key} of {section} is not a setting"
    text = f"{section} has no such setting"
    close = difflib.get_close_matches(key, traits, n=1, cutoff=0.8)
    for cls in chosen.values():
        if not close and key in cls.class_traits(config=True):
            owner = next(c.__name__ for c in reversed(cls.__mro__) if key in vars(c))
            return f"{text}; did you mean 'c.{owner}.{key}'?"
    return text + did_you_mean(key, traits)


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """Every class below a class, as far as they are imported."""
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)


def main() -> None:
    """Answer one request: JSON on standard input, lines on what was standard output."""
    request = json.loads(sys.stdin.read())
    # Fragments print what they like: on standard error, which is not read by a machine.
    report = os.dup(1)
    os.dup2(2, 1)
    run(request, report)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that fragments have started do not keep anybody waiting.
    os._exit(0)


if __name__ == "__main__":
    main()
