"""Rules on text in which a spawner expands placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

from littlest_hub.check.jupyterhub_api import Spawner
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings

# Not ${USER}, a shell's variable.
_PLACEHOLDER = re.compile(r"(?<!\$)\{\s*(\w+)\s*\}")
_UNIT = ("USERNAME", "USERID")
# Nothing but a user's name makes sense in them.
_NAMES = ("user_workingdir", "username_template", "unit_name_template")
_TEXTS = (
    "cmd",
    "args",
    "extra_paths",
    "readonly_paths",
    "readwrite_paths",
    "unit_extra_properties",
)
_MISTAKES = frozenset(
    ("USER", "NAME", "UID", "HOME", "LOGNAME", "USER_NAME", "USER_ID", "USERNAME", "USERID")
)
_BATCH = ("batch_script", "batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd", "exec_prefix")


def misspelled_placeholders(settings: Settings) -> Iterator[Problem]:
    """Refuse {USER} and the like, which would stay in the text as they are."""
    if not settings.uses("Spawner", "UnitSpawner"):
        return
    for key in (*_NAMES, *_TEXTS):
        setting = settings.get("Spawner", key)
        for element, text in _texts(setting.value):
            for name in _PLACEHOLDER.findall(text):
                if name not in _UNIT and (key in _NAMES or name.upper() in _MISTAKES):
                    expected = " or ".join(f"{{{each}}}" for each in _UNIT)
                    message = f"there is no placeholder {{{name}}}; expected {expected}"
                    yield from setting.error(message, element)


def unknown_placeholders(settings: Settings) -> Iterator[Problem]:
    """Refuse braces at which every start of a server would fail."""
    cls: Any = settings.chosen["Spawner"]
    if cls.format_string is Spawner.format_string and (
        cls.template_namespace is Spawner.template_namespace
    ):
        for key in ("default_url", "notebook_dir"):
            yield from _unknown(settings.get("Spawner", key), {"username", "base_url"})
    if settings.uses("Spawner", "SystemdSpawner") and not settings.uses("Spawner", "UnitSpawner"):
        for key in (*_NAMES, *_TEXTS):
            yield from _unknown(settings.get("Spawner", key), set(_UNIT))
    if settings.uses("Spawner", "BatchSpawnerBase"):
        form = settings.get("Spawner", "options_form").value
        declared = settings.section_value("RequestPolicy", "user_options") or {}
        known = {key[4:] for key in cls.class_traits() if key.startswith("req_")}
        for key in _BATCH if not form else ():
            yield from _unknown(settings.get("Spawner", key), {*known, *declared, "cmd", "job_id"})


def _unknown(setting: EffectiveSetting, known: set[str]) -> Iterator[Problem]:
    names = ", ".join(f"{{{name}}}" for name in sorted(known))
    for element, text in _texts(setting.value):
        # batchspawner takes text with these for a template of jinja2.
        if setting.key in _BATCH and ("{{" in text or "{%" in text):
            continue
        if fault := _fault(text, known):
            message = f"{fault}; expected {names}, and {{{{ for a brace"
            yield from setting.error(message, element)


def _fault(text: str, known: set[str]) -> str | None:
    """Return why str.format() would fail; None if it would not."""
    try:
        fields = [field for _, field, *_ in Formatter().parse(text) if field is not None]
    except ValueError as error:
        return str(error)
    names = [re.split(r"[.\[]", field)[0] for field in fields]
    return next(
        (f"there is no placeholder {{{name}}}" for name in names if name not in known), None
    )


def _texts(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield each text in a value, with the element of the value that contains it."""
    items = value.items() if isinstance(value, dict) else None
    for element in items or (value if isinstance(value, (list, tuple)) else (value,)):
        content = element[1] if items else element
        for text in content if isinstance(content, (list, tuple)) else (content,):
            if isinstance(text, str):
                yield (element if element is not value else None), text
