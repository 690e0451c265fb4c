"""The trial of a configuration: a hub is initialized, and why it fails is told with the line."""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from traitlets.config import Config

from littlest_hub.check.culprits import Setting, culprit, plain, settings_of_fragments, without
from littlest_hub.check.jupyterhub_api import UnitSpawner, complete
from littlest_hub.check.origins import Origin, RecordingConfig, origin_in_traceback
from littlest_hub.check.report import Problem
from littlest_hub.check.trial_hub import TrialHub, UnknownUserError
from littlest_hub.check.trial_server import refused_properties
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.control import one_line
from littlest_hub.layout import Layout

LIMIT_S = 90
"""Time limit of the trial: a hundred times what it takes on a usual machine."""
SEARCH_S = 30
"""Time after which the search for the setting that makes a hub fail is given up."""

_NAMED = 10
"""The most users that a message names."""

_PROXIES = ("HubProxy", "TraefikFileProviderProxy", "TraefikProxy", "Proxy")
"""Sections for the settings of HubProxy, the most specific first."""

# Settings that decide whether a step of JupyterHub's start succeeds.
_SETTINGS_OF_STEP = {
    step: [f"JupyterHub.{name}" if "." not in name else name for name in names.split()]
    for step, names in {
        "init_secrets": "cookie_secret cookie_secret_file",
        "init_db": "db_url db_kwargs",
        "init_hub": "hub_bind_url hub_connect_url hub_ip hub_port public_url",
        "init_proxy": "ssl_key ssl_cert HubProxy.domains HubProxy.extra_static_config"
        " TraefikProxy.extra_static_config proxy_class",
        "_try_traefik": " ".join(
            f"{name}.extra_{kind}_config" for kind in ("dynamic", "static") for name in _PROXIES
        ),
        "init_role_creation": "load_roles custom_scopes",
        "init_users": "admin_users Authenticator.admin_users Authenticator.allowed_users",
        "init_groups": "load_groups Authenticator.manage_groups",
        "init_services": "services load_roles subdomain_host",
        "init_api_tokens": "api_tokens service_tokens services",
        "init_role_assignment": "load_roles services",
        "init_tornado_settings": "jinja_environment_options template_paths tornado_settings",
        "init_handlers": "extra_handlers",
        "init_tornado_application": "tornado_settings extra_handlers",
        "_page_handler": "tornado_settings",
        "_render_page": "template_paths template_vars jinja_environment_options tornado_settings",
        "_render_pages_of": "template_paths template_vars jinja_environment_options",
        "_refuse_other_tasks": "show_config show_config_json generate_config generate_certs",
        "_refuse_intervals": "service_check_interval last_activity_interval",
    }.items()
}


@dataclass(frozen=True)
class _Failure:
    """The error for which a hub does not start."""

    error: BaseException
    reason: str

    def is_like(self, other: _Failure | None) -> bool:
        """Return whether another attempt has failed in the same way."""
        return (
            other is not None
            and type(other.error) is type(self.error)
            and other.reason == self.reason
        )


def failures(
    config: RecordingConfig,
    layout: Layout,
    known: Collection[Problem],
    defaults: Callable[[], Config],
    *,
    is_for_owner: bool = False,
) -> list[Problem]:
    """Initialize a hub with a configuration; return why it fails, unless the reason is known.

    Args:
        config: the configuration of defaults and fragments.
        layout: the installation.
        known: its problems that are known already.
        defaults: makes the configuration without the fragments.
        is_for_owner: whether the hub serves only its owner, whom no fragment has to let in.
    """
    app, failure = _initialize(plain(config), layout)
    if failure:
        return list(_problems(failure, config, layout, known, defaults))
    problems = [] if is_for_owner else list(_locked_out(app, config, layout))
    # If the hub does not run as root, root's template unit decides about properties.
    if isinstance(app.spawner, UnitSpawner) and not layout.hub_user:
        problems += refused_properties(app.spawner, config)
    return problems


def _initialize(config: Config, layout: Layout) -> tuple[TrialHub, _Failure | None]:
    TrialHub.clear_instance()
    app = TrialHub.instance(loaded_config=config, layout=layout)
    try:
        asyncio.run(asyncio.wait_for(app.initialize([]), LIMIT_S))
    except SystemExit as error:
        # The text of JupyterHub's last error, or its own.
        return app, _Failure(error, str(error.code))
    except TimeoutError as error:
        return app, _Failure(error, f"takes more than {LIMIT_S} s")
    except LittlestHubError as error:
        return app, _Failure(error, error.message)
    except Exception as error:
        return app, _Failure(error, _reason(error))
    finally:
        TrialHub.clear_instance()
    return app, None


def _reason(error: Exception) -> str:
    """Return an error's text, or where it was raised if it has none."""
    if str(error):
        return one_line(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{one_line(error)} in {frame.name} ({frame.filename}:{frame.lineno}: {frame.line})"


def _locked_out(app: TrialHub, config: RecordingConfig, layout: Layout) -> Iterator[Problem]:
    """Warn of users of the hub who would be locked out by its next start."""
    if not app.locked_out:
        return
    file, line = config.Authenticator.origin("allowed_users") or Origin(str(layout.fragments), 0)
    names = sorted(app.locked_out)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = (
        f"no fragment lets {', '.join(names[:_NAMED])}{more} log in: a reload ends their sessions"
        " and tokens and stops their servers"
    )
    yield Problem(file, line, text, is_warning=True)


def _problems(
    failure: _Failure,
    config: RecordingConfig,
    layout: Layout,
    known: Collection[Problem],
    defaults: Callable[[], Config],
) -> Iterator[Problem]:
    nowhere = Origin(str(layout.fragments), 0)
    error = failure.error
    if isinstance(error, UnknownUserError):
        cause = error.__cause__ or error
        file, line = (
            origin_in_traceback(cause) or config.JupyterHub.origin("spawner_class") or nowhere
        )
        text = f"not checked: the spawner does not know the user {error}: {one_line(cause)}"
        yield Problem(file, line, text, is_warning=True)
        return
    errors = [problem for problem in known if not problem.is_warning]
    named = _settings_of_step(error)
    if any(f"{problem.message.partition(':')[0]}" in named for problem in errors):
        return
    name, origin = "", origin_in_traceback(error)
    is_unknown = origin is None and not errors
    if is_unknown and (found := _responsible(failure, config, layout, named, defaults)):
        section: RecordingConfig = config
        for each in found.path[:-1]:
            section = section[each]
        name = f"{'.'.join(found.path)}: "
        origin = _origin_of_named(section, found.path[-1], failure.reason)
    if errors and (origin is None or any(origin == (p.file, p.line) for p in errors)):
        return
    frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    is_page = not frames.isdisjoint(("_page_handler", "_render_page", "_render_pages_of"))
    what = "the hub could show no page" if is_page else "the hub would not start"
    file, line = origin or nowhere
    yield Problem(file, line, f"{name}{what}: {failure.reason}")


def _responsible(
    failure: _Failure,
    config: RecordingConfig,
    layout: Layout,
    named: Collection[str],
    defaults: Callable[[], Config],
) -> Setting | None:
    """Return the setting of a fragment without which the hub would not fail so; None: unknown.

    Args:
        failure: how the hub fails.
        config: the configuration of defaults and fragments.
        layout: the installation.
        named: settings that probably make it fail, the likeliest first.
        defaults: makes the configuration without the fragments.
    """
    deadline = time.monotonic() + SEARCH_S

    def fails_without(settings: Collection[Setting]) -> bool:
        if isinstance(failure.error, TimeoutError) or time.monotonic() > deadline:
            raise TimeoutError
        changed = without(config, settings, defaults())
        complete(changed)
        return failure.is_like(_initialize(changed, layout)[1])

    settings = {".".join(each.path): each for each in settings_of_fragments(config)}
    likely = [settings[name] for name in named if name in settings]
    try:
        for setting in likely:
            if not fails_without([setting]):
                return setting
        return culprit(settings.values(), fails_without)
    except TimeoutError:
        return likely[0] if likely else None


def _origin_of_named(section: RecordingConfig, key: str, reason: str) -> Origin | None:
    """Return the line that added the service, or role, that a reason names, or else any of them."""
    value = section.get(key)
    for element in value if isinstance(value, list) else ():
        name = element.get("name") if isinstance(element, dict) else None
        if name and re.search(rf"\b{re.escape(str(name))}\b", reason):
            return section.origin(key, element)
    return section.origin(key)


def _settings_of_step(error: BaseException) -> list[str]:
    """Return the settings that decide about the step of JupyterHub's start that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    steps = [frame.name for frame in reversed(frames)]
    return [setting for step in steps for setting in _SETTINGS_OF_STEP.get(step, ())]
