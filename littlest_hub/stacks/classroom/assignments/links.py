"""Links to material: a person who follows one gets a copy of a git repository, and sees a file.

nbgitpuller in the person's server clones the repository, or merges new commits without touching
the person's own changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

LAB, NOTEBOOK = "lab", "notebook"
_SCHEMES = ("https", "http", "git")
# A page of GitHub, GitLab or Gitea about a file or a directory of a repository.
_PAGE = re.compile(r"(https?://[^/]+/[^/]+/.+?)(?:/-)?/(?:blob|tree|src/branch)/.+")
# The usual part of what git-check-ref-format(1) allows.
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True)
class Material:
    """The target of a link."""

    repository: str
    """The address of the repository, as for `git clone`."""
    branch: str = ""
    """The branch; "": the default one of the repository."""
    path: str = ""
    """The file or directory in the repository that opens; "": the top directory."""
    interface: str = LAB

    @property
    def directory(self) -> str:
        """The name of the copy in the home directory."""
        name = urlsplit(self.repository).path.rstrip("/").rpartition("/")[2]
        return name.removesuffix(".git")

    def problems(self) -> dict[str, str]:
        """Return problems by field."""
        found = {}
        if not self._is_address():
            found["repository"] = (
                "An address of a git repository that needs no password begins with https://, such"
                " as https://example.org/course.git"
            )
        elif page := _PAGE.fullmatch(self.repository):
            found["repository"] = (
                f"This is the address of a page about files. The repository is probably {page[1]}"
            )
        if self.branch and not (_BRANCH.fullmatch(self.branch) and ".." not in self.branch):
            found["branch"] = "A branch has letters, digits and . _ / - only."
        if self.path and (".." in self.path.split("/") or not self.path.isprintable()):
            found["path"] = "A path is that of a file in the repository, such as week1/start.ipynb"
        return found

    def link(self, hub: str) -> str:
        """Return the link.

        Args:
            hub: the address of the hub, with its path and a slash at the end.
        """
        shown = quote("/".join(filter(None, (self.directory, self.path.strip("/")))))
        query = {
            "repo": self.repository,
            **({"branch": self.branch} if self.branch else {}),
            "targetpath": self.directory,
            "urlpath": f"lab/tree/{shown}" if self.interface == LAB else f"tree/{shown}",
        }
        return f"{hub}hub/user-redirect/git-pull?{urlencode(query)}"

    def _is_address(self) -> bool:
        try:
            parts = urlsplit(self.repository)
        except ValueError:
            return False
        is_whole = parts.scheme in _SCHEMES and bool(parts.hostname) and not parts.username
        is_plain = self.repository.isprintable() and " " not in self.repository
        return is_whole and is_plain and self.directory not in ("", ".", "..")
