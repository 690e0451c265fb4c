"""Options of a user server: what reaches `spawner.user_options`, for every spawner.

JupyterHub passes on whatever a link, a form, or the API contains. Spawners write options into job
scripts, commands, and names of images, so here an option needs a declaration: a form of the
administrator's, or a name with a type.
"""

# traitlets' decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tornado.web import HTTPError
from traitlets import Bool, Dict, Enum, Float, Int, Set, TraitError, TraitType, Unicode, validate
from traitlets.config import Configurable

LONGEST_TEXT = 256
"""Length of the longest text that an option of type Unicode accepts."""
LIMIT_BYTES = 64 << 10
"""Size of the options of one server, as JSON."""
TYPES = (Bool, Int, Float, Enum, Unicode)


class FormOptions(dict[str, Any]):
    """Options that a fragment's `options_from_form` returned for a form of this hub."""


def storable(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return form options as the database can store them; None for others."""
    if not isinstance(options, FormOptions):
        return None
    try:
        return dict(json.loads(json.dumps(options)))
    except (TypeError, ValueError):
        return None


class RequestPolicy(Configurable):  # type: ignore[misc]
    """The rights of requests to the hub."""

    user_options = Dict(
        key_trait=Unicode(),
        config=True,
        help="Options of a server that links, forms and the API may set, each with its type: Bool,"
        " Int(min=1, max=8), Float(min=0, max=1), Enum(['small', 'large']) or Unicode of traitlets."
        f" Text has at most {LONGEST_TEXT} printable characters. A function instead of a type takes"
        " the value, and returns the one to use or raises ValueError. Other options are discarded,"
        " except those that c.Spawner.options_from_form returns if there is a"
        " c.Spawner.options_form.",
    )
    trusted_origins = Set(
        trait=Unicode(),
        config=True,
        help="Origins of other sites, such as 'https://portal.example.org', whose links may do what"
        " the hub's own links may: start a server with options, log out.",
    )

    @validate("user_options")
    def _check_types(self, proposal: Any) -> Any:
        for name, kind in proposal.value.items():
            is_function = callable(kind) and not isinstance(kind, type)
            if not is_function and not isinstance(kind, TYPES):
                names = ", ".join(f"{each.__name__}()" for each in TYPES)
                raise TraitError(
                    f"{name}: expected one of traitlets' {names}, or a function, found {kind!r}"
                )
        return proposal.value

    @validate("trusted_origins")
    def _check_origins(self, proposal: Any) -> Any:
        for origin in proposal.value:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or rest != rest.lower():
                raise TraitError(f"expected 'https://portal.example.org', found {origin!r}")
        return proposal.value

    def accepted(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a request that may reach a spawner.

        Raises:
            HTTPError: a value does not have its declared type.
        """
        if isinstance(options, FormOptions):
            return _bounded(options)
        found = {}
        for name, kind in self.user_options.items():
            if name in options:
                try:
                    found[name] = converted(options[name], kind)
                except ValueError as error:
                    raise HTTPError(400, f"{name}: {error}") from None
        return found

    def still_accepted(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the options of an earlier start that are accepted today."""
        found = {}
        for name in stored:
            try:
                found.update(self.accepted({name: stored[name]}))
            except HTTPError:
                continue
        return found


def converted(value: Any, kind: Any) -> Any:
    """Return a value as its type has it; forms and queries have lists of text.

    Raises:
        ValueError: it is none of that type; the message says what is expected.
    """
    if not isinstance(kind, TraitType):
        return _by_function(value, kind)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        if isinstance(value, str) and not isinstance(kind, Unicode):
            value = kind.from_string(value)
        if isinstance(value, bool) is not isinstance(kind, Bool) and not isinstance(kind, Enum):
            raise ValueError
        value = kind.validate(None, value)
    except (TraitError, ValueError, TypeError):
        raise ValueError(f"expected {_description(kind)}") from None
    if isinstance(value, str) and (len(value) > LONGEST_TEXT or not value.isprintable()):
        raise ValueError(f"expected {_description(kind)}")
    return value


def _by_function(value: Any, function: Any) -> Any:
    try:
        return function(value)
    except ValueError:
        raise
    except Exception as error:
        # The function did not expect a value of this kind.
        raise ValueError(f"not accepted ({type(error).__name__})") from error


def _description(kind: TraitType) -> str:
    if isinstance(kind, Unicode):
        return f"text of at most {LONGEST_TEXT} printable characters"
    bounds = (("at least", getattr(kind, "min", None)), ("at most", getattr(kind, "max", None)))
    return " ".join([kind.info(), *(f"{word} {b}" for word, b in bounds if b is not None)])


def _bounded(options: FormOptions) -> FormOptions:
    # JupyterHub does not store what is no JSON, such as an uploaded file.
    size_bytes = len(json.dumps(storable(options)))
    if size_bytes > LIMIT_BYTES:
        raise HTTPError(400, f"options of {size_bytes} bytes; expected at most {LIMIT_BYTES}")
    return options
