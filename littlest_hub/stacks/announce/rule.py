"""The rule of `check` about announce."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings


def replaced_variables(settings: Settings) -> Iterator[Problem]:
    """Warn if a fragment replaces the variables of templates, so that no page has a banner."""
    setting = settings.get("JupyterHub", "template_vars")
    if isinstance(setting.value, dict) and "announcement" not in setting.value:
        text = "replaces the banner of the stack announce; expected template_vars.update({…})"
        yield from setting.warning(text)
