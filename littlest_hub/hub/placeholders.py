"""Placeholders in the text of fragments; every other brace stays as it is."""

from __future__ import annotations

from typing import Any

from littlest_hub.layout import expanded


class Placeholders:
    """Spawner that expands the documented placeholders and nothing else.

    SystemdSpawner and JupyterHub call str.format(), which fails at the braces of JSON.
    """

    user: Any

    template_namespace: Any

    def _expand_user_vars(self, string: str) -> str:
        return expanded(string, USERNAME=self.user.name, USERID=self.user.id)

    def format_string(self, s: str) -> str:
        return expanded(s, **self.template_namespace())
