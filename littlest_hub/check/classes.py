"""The classes that fragments choose: authenticator, spawner, proxy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from traitlets import TraitError
from traitlets.config import Config

from littlest_hub.check.explanations import ADD
from littlest_hub.check.jupyterhub_api import Authenticator, JupyterHub, Proxy, Spawner
from littlest_hub.check.settings import trait_default
from littlest_hub.check.suggestions import did_you_mean
from littlest_hub.check.values import complaint

ROLES = {"authenticator_class": Authenticator, "spawner_class": Spawner, "proxy_class": Proxy}
"""The base class of each setting of JupyterHub that chooses a class."""
PACKAGES = {
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
"""The package of each well-known class that may be missing from the hub environment."""


def chosen_classes(config: Config) -> tuple[dict[str, type[Any]], dict[str, Exception]]:
    """Return the class in each role, and why a setting chooses none, by setting.

    The role's base class stands in for a class that cannot be had.
    """
    chosen: dict[str, type[Any]] = {"JupyterHub": JupyterHub}
    failed: dict[str, Exception] = {}
    for key, role in ROLES.items():
        value = config.JupyterHub.get(key, trait_default(JupyterHub, key))
        try:
            chosen[role.__name__] = chosen_class(key, value)
        except (TraitError, ValueError) as error:
            chosen[role.__name__] = role
            failed[key] = error
    return chosen, failed


def chosen_class(key: str, value: Any) -> type[Any]:
    """Return the class that a setting such as JupyterHub.spawner_class chooses.

    Raises:
        ValueError: the value is no such class; the message names the possible ones.
    """
    trait = JupyterHub.class_traits()[key]
    role = ROLES[key]
    registry = trait.load_entry_points()
    if isinstance(value, str) and "." not in value and value.lower() not in registry:
        package = PACKAGES.get(value)
        hint = f"; {package} is not installed" if package else did_you_mean(value, registry)
        raise ValueError(
            f"there is no {role.__name__.lower()} {value!r}; expected one of"
            f" {', '.join(sorted(registry))}, a class, or a name such as"
            f" 'package.module.Class'{hint}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cls: Any = trait._validate(JupyterHub.__new__(JupyterHub), value)
    except Exception as error:
        if not isinstance(value, str):
            raise ValueError(complaint(key, value, error)) from error
        reason = _root_cause(error)
        text = f"{type(reason).__name__}: {reason}"
        if isinstance(reason, TraitError):
            text = complaint(key, value, reason)
        hint = _import_hint(value, role, reason)
        raise ValueError(f"cannot use {value!r}: {text}{hint}") from error
    if not isinstance(cls, type):
        raise ValueError(f"expected a class, found {value!r}")
    return cls


def _root_cause(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _import_hint(name: str, role: type[Any], reason: BaseException) -> str:
    """Return the end of a sentence about a dotted name that cannot be imported."""
    known = [f"{cls.__module__}.{cls.__name__}" for cls in subclasses(role)]
    if hint := did_you_mean(name, known, cutoff=0.85):
        return hint
    module, class_name = name.partition(".")[0], name.rpartition(".")[2]
    if isinstance(reason, ModuleNotFoundError) and reason.name == module:
        package = PACKAGES.get(class_name, module)
        return f"; the package {package} is not installed in the hub environment; {ADD} {package}"
    return ""


def missing_hint(name: str) -> str:
    """Return the end of a sentence about a class of `PACKAGES` that nothing has imported."""
    if name == "SlurmSpawner":
        return "; it is of the stack slurm, which is not enabled (batchspawner has one as well)"
    return f"; {PACKAGES[name]} is not installed, or no setting or fragment imports it"


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """Yield every subclass of a class that has been imported."""
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)
