"""Validation of single values by the class that they configure."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from typing import Any

from traitlets import TraitError
from traitlets.config.loader import LazyConfigValue

from littlest_hub.check.settings import trait_default

_TRAIT = re.compile(r"^The '\w+' trait of an? .*? instance,? (?:must be|expected|contains) ?", re.S)
# Words of traitlets before the sentence about an element of a container.
_ELEMENT = re.compile(r"^contains an? \w+ of an? \w+ which (?=expected)")
_DEPRECATED = re.compile(r"deprecat", re.IGNORECASE)
_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|keys?$|^(db_url|environment|services|consumers)$",
    re.IGNORECASE,
)


class _RecordedMessages(logging.Handler):
    """The messages that a class logs about its settings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def deprecations(cls: Any, key: str, value: Any) -> list[str]:
    """Validate a value and return the notice that its setting is deprecated, if there is one.

    Raises:
        Exception: the class refuses the value.
    """
    instance = cls.__new__(cls)
    messages = _RecordedMessages()
    log = logging.Logger("check")
    log.addHandler(messages)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with contextlib.suppress(TraitError):
            instance.log = log
        try:
            setattr(instance, key, value)
        except (AttributeError, KeyError, AssertionError, ValueError):
            # An observer needs an initialized object, or compares with other settings, as the trial
            # does. The trait's own validation is enough.
            cls.class_traits()[key]._validate(cls.__new__(cls), value)
    texts = [*messages.texts, *(str(each.message) for each in warned)]
    help_text = str(cls.class_traits()[key].help or "").strip()
    if re.match(r"\W*(pending )?deprecated", help_text, re.IGNORECASE):
        texts.append(help_text.split("\n\n")[0])
    return [" ".join(text.split()) for text in texts if _DEPRECATED.search(text)][:1]


def merge_with_default(cls: type[Any], key: str, lazy: Any) -> Any:
    """Return the default with the elements that fragments append, add or update.

    Raises:
        ValueError: the methods that the fragments call do not fit the setting.
    """
    default = trait_default(cls, key)
    used = {
        list: lazy._extend or lazy._prepend or lazy._inserts,
        dict: isinstance(lazy._update, dict) and lazy._update,
        set: isinstance(lazy._update, set) and lazy._update,
    }
    methods = {list: "append(), extend()", dict: "update() with a dict", set: "add(), update()"}
    kind = next((kind for kind in methods if isinstance(default, kind)), None)
    unknown = vars(lazy).keys() - vars(LazyConfigValue()).keys()
    wrong = [each for each, use in used.items() if use and each is not kind]
    if wrong and (kind or default is not None):
        called = methods[wrong[0]]
        if kind is None:
            raise ValueError(f"{called} called on {default!r}; expected a whole value")
        expected = f"{methods[kind]} or a whole value"
        raise ValueError(f"{called} called on a {kind.__name__}; expected {expected}")
    if unknown:
        raise ValueError(f"has no .{sorted(unknown)[0]}; expected a whole value")
    if not any(used.values()):
        return default
    if kind is None:
        return lazy._update or [*lazy._prepend, *lazy._extend]
    return lazy.get_value(default)


def complaint(key: str, value: Any, error: BaseException) -> str:
    """Return what a class says about a value, without the setting's name and without secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    found = _TRAIT.match(text)
    if found:
        verb = found[0].rstrip().rpartition(" ")[2]
        verb = "expected" if verb in ("be", "expected") else verb
        text = _ELEMENT.sub("", f"{verb} {text[found.end() :]}").rstrip(".")
    elif not isinstance(error, (TraitError, ValueError)):
        text = f"{type(error).__name__}: {text}"
    if _SECRET.search(key):
        return _masked(text, value)
    return text if repr(value) in text or len(repr(value)) > 200 else f"{text} (found {value!r})"


def _masked(text: str, secret: Any) -> str:
    """Return a text without a secret value and its elements."""
    text = text.replace(repr(secret), "…")
    if isinstance(secret, (list, tuple, set, frozenset, dict)):
        for element in [*secret, *secret.values()] if isinstance(secret, dict) else secret:
            text = _masked(text, element)
    elif len(str(secret)) > 3:  # a shorter one occurs in ordinary words
        text = text.replace(str(secret), "…")
    return text
