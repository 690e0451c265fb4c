"""The commit that a branch, a tag or the beginning of a commit's name stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.resolver.remote import Ref, Remote

Search = Callable[[Sequence[str], str], list[str] | None]
"""Returns the commits before some whose name begins like a text; None: there are too many."""
_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_BEGINNING = re.compile(r"[0-9a-f]{7,63}")
_MOST_SHOWN = 5
_MOST_COMPARED = 2000
_MOST_TIPS = 2000


@dataclass(frozen=True)
class Choice:
    """A commit, and why it is the one."""

    commit: str
    ref: str = ""
    """The full name of its branch or tag, or "HEAD"; "": it was named itself."""
    is_reachable: bool = True
    """Whether it is known to be on a branch or under a tag.

    GitHub shows commits of every fork as if they were the repository's own.
    """


def choose(remote: Remote, ref: str, search: Search) -> Choice:
    """Return the commit for a ref; for "": that of the branch which the repository chooses.

    A branch precedes a tag of the same name, as for `git clone --branch`; a whole name of a commit
    precedes both.

    Raises:
        LittlestHubError: there is none, or it is not on any branch; the hint names similar ones.
    """
    if not ref:
        return _chosen_by_repository(remote)
    if not repository.is_commit(ref):
        names = [_BRANCHES + ref, _TAGS + ref]
        if ref.startswith((_BRANCHES, _TAGS)):
            names.append(ref)
        found = {each.name: each.commit for each in remote.refs(*names) if each.name in names}
        for name in names:
            if name in found:
                return Choice(found[name], name)
    tips = _tips(remote)
    if _BEGINNING.fullmatch(ref) or repository.is_commit(ref):
        return _commit(remote, ref, tips, search)
    raise _unknown(remote, ref, tips)


def _chosen_by_repository(remote: Remote) -> Choice:
    for each in remote.refs("HEAD"):
        if each.name == "HEAD":
            return Choice(each.commit, each.target if _is_safe(each.target) else each.name)
    tips = _tips(remote)
    url = remote.repository.url
    if not tips:
        raise LittlestHubError(f"{url} is empty")
    raise LittlestHubError(f"{url} chooses no branch itself; expected one", _shown(tips))


def _is_safe(target: str) -> bool:
    """Return whether a server names a branch that may be an argument of git later."""
    name = target.removeprefix(_BRANCHES)
    try:
        return name != target and bool(name) and repository.ref_of(name) == name
    except LittlestHubError:
        return False


def _tips(remote: Remote) -> list[Ref]:
    found = remote.refs(_BRANCHES, _TAGS)
    return [each for each in found if each.name.startswith((_BRANCHES, _TAGS))]


def _commit(remote: Remote, ref: str, tips: list[Ref], search: Search) -> Choice:
    """Return the commit with this name, or one that begins like this."""
    is_whole = repository.is_commit(ref)
    at_tips = {each.commit for each in tips if each.commit.startswith(ref)}
    if is_whole and at_tips:
        return Choice(ref)
    newest = [*dict.fromkeys(each.commit for each in tips)][:_MOST_TIPS]
    found = search(newest, ref) if remote.has_history and newest else None
    if found is None and is_whole:
        return Choice(ref, is_reachable=False)
    commits = sorted(at_tips.union(found or ()))
    if len(commits) == 1:
        return Choice(commits[0])
    if commits:
        raise LittlestHubError(
            f"{len(commits)} commits begin with {ref}; expected more digits",
            f"Such as {', '.join(commits[:_MOST_SHOWN])}",
        )
    if is_whole:
        raise LittlestHubError(
            f"the commit {ref} is on no branch and under no tag of {remote.repository.url}",
            "If it is of a fork, or of a pull request, name the fork",
        )
    if found is None:
        raise LittlestHubError(
            f"{remote.repository.url} has no branch or tag {ref}; if it is a commit, expected all"
            " of its digits"
        )
    raise _unknown(remote, ref, tips)


def _unknown(remote: Remote, ref: str, tips: list[Ref]) -> LittlestHubError:
    if not tips:
        return LittlestHubError(f"{remote.repository.url} has no branches and tags")
    return LittlestHubError(
        f"{remote.repository.url} has no branch, tag or commit {ref!r}", _shown(tips, ref)
    )


def _shown(tips: list[Ref], ref: str = "") -> str:
    """Return a sentence with names like one, or with some if none is."""
    names = [each.name.removeprefix(_BRANCHES).removeprefix(_TAGS) for each in tips]
    similar = [each for each in names if ref and each.lower() == ref.lower()]
    compared = islice((each for each in names if each not in similar), _MOST_COMPARED)
    similar += get_close_matches(ref, compared, _MOST_SHOWN) if ref else []
    some = similar[:_MOST_SHOWN] or names[:_MOST_SHOWN]
    text = ", ".join(each[:60] if each.isprintable() else repr(each)[:60] for each in some)
    rest = len(names) - len(some)
    if similar:
        return f"Similar: {text}"
    return f"It has {text}" + (f", and {rest} more" if rest else "")
