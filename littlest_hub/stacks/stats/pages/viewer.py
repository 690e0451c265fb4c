"""Viewers of the figures: which of them each person may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from littlest_hub.stacks.stats.values import Values


@dataclass(frozen=True)
class Viewer:
    """A person who looks at figures."""

    name: str
    is_admin: bool = False
    groups: frozenset[str] = frozenset()
    """Groups that an instructor may see."""

    @classmethod
    def of(cls, user: Mapping[str, Any], values: Values) -> Viewer:
        """Return a viewer.

        Args:
            user: what the hub tells about the person who is logged in.
            values: those of the fragment.
        """
        groups = values.visible_groups([str(each) for each in user.get("groups") or ()])
        return cls(str(user["name"]), user.get("admin") is True, groups)

    def may_see_group(self, group: str) -> bool:
        return self.is_admin or group in self.groups
