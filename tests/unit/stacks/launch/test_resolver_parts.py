"""Parts of the resolver with whatever can be made up: git's lines, and links."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path, PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from littlest_hub.stacks.launch.resolver.pkt_line import (
    Mark,
    ProtocolError,
    demultiplexed,
    line,
    packets,
    text_of,
)
from littlest_hub.stacks.launch.resolver.tree import stays

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=50)
NAMES = st.sampled_from(["a", "b", "c", ".", "..", ""])
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(st.one_of(TEXTS, st.sampled_from(Mark))), st.integers(1, 9))
def test_lines_are_read_however_they_are_cut(sent: list[str | Mark], size: int) -> None:
    data = b"".join(each.value if isinstance(each, Mark) else line(each) for each in sent)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    found = [*packets(parts)]
    assert [each for each in found if isinstance(each, Mark)] == [
        each for each in sent if isinstance(each, Mark)
    ]
    texts = [each for each in sent if isinstance(each, str)]
    if not any(each.startswith("ERR ") for each in texts):
        assert [text_of(each) for each in found if not isinstance(each, Mark)] == texts


@given(st.one_of(st.binary(max_size=40), st.from_regex(rb"(?:000[0-9a-f].{0,9}){0,5}")))
def test_other_bytes_raise_nothing_else_than_that_they_are_no_lines(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for packet in packets([data]):
            text_of(packet)
    with contextlib.suppress(ProtocolError):
        for _ in demultiplexed(packets([data])):
            pass


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(PATHS, st.lists(NAMES, min_size=1, max_size=6).map("/".join), max_size=6))
def test_links_that_are_made_lead_to_places_inside_whatever_other_links_there_are(
    links: dict[str, str],
) -> None:
    with tempfile.TemporaryDirectory() as outside:
        top = Path(outside).resolve() / "x" / "files"
        top.mkdir(parents=True)
        made = []
        # In git, everything above a link is a directory.
        for name in sorted(links):
            if not any(other != name and f"{other}/".startswith(f"{name}/") for other in links):
                (top / name).parent.mkdir(parents=True, exist_ok=True)
                if stays(PurePosixPath(name), links[name]):
                    (top / name).symlink_to(links[name])
                    made.append(top / name)
        for link in made:
            # A circle leads nowhere.
            with contextlib.suppress(RuntimeError, OSError):
                assert link.resolve(strict=True).is_relative_to(top), links
