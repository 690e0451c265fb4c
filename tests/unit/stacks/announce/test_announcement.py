"""Announcements: hostile text is shown as text, and a hostile file is not read."""

import os
from pathlib import Path

import pytest
from jinja2 import Environment

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.announce.announcement import FILE, Announcement, Current, read, save
from littlest_hub.stacks.announce.on_pages import Shown

# As JupyterHub's page.html has it, and ours.
PAGE = Environment(autoescape=True).from_string(
    "{% if announcement %}[{{ announcement | safe }}][{{ announcement }}]{% endif %}"
)


def shown(directory: Path, part: str = "banner") -> str:
    return PAGE.render(announcement=Shown(Current(directory), part))


def test_an_announcement_is_on_pages_at_once(tmp_path: Path) -> None:
    current = Shown(Current(tmp_path), "banner")
    assert PAGE.render(announcement=current) == ""
    save(tmp_path, Announcement.written("at 18:00", "", "boss"))
    assert PAGE.render(announcement=current) == "[at 18:00][at 18:00]"
    save(tmp_path, Announcement.written("", "", "boss"))
    assert PAGE.render(announcement=current) == ""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("</div>&amp;", "&lt;/div&gt;&amp;amp;"),
        ('"><img src=x>', "&#34;&gt;&lt;img src=x&gt;"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        (
            "https://x.org/\"onmouseover='a'",
            '<a href="https://x.org/&#34;onmouseover=&#39;a&#39;" rel="noopener noreferrer">'
            "https://x.org/&#34;onmouseover=&#39;a&#39;</a>",
        ),
    ],
)
def test_hostile_text_is_text(tmp_path: Path, text: str, html: str) -> None:
    save(tmp_path, Announcement.written(text, text, "boss"))
    assert shown(tmp_path) == f"[{html}][{html}]"
    assert shown(tmp_path, "message") == f"[{html}][{html}]"


def test_a_banner_is_one_line_and_a_message_has_lines(tmp_path: Path) -> None:
    written = Announcement.written(" a\r\n\x1b[2J b\u202e ", "\na\r\n\x07b \n", "boss")
    assert (written.banner, written.message) == ("a [2J b", "a\nb")


@pytest.mark.parametrize(("banner", "message"), [("x" * 201, ""), ("", "x" * 4001)])
def test_a_text_that_is_too_long_is_refused(banner: str, message: str) -> None:
    with pytest.raises(LittlestHubError, match=r"expected at most \d+"):
        Announcement.written(banner, message, "boss")


def test_root_follows_no_link_that_the_service_has_made(tmp_path: Path) -> None:
    secret, directory = tmp_path / "secret", tmp_path / "data"
    directory.mkdir()
    secret.write_text('{"banner": "secret"}')
    (directory / FILE).symlink_to(secret)
    assert shown(directory) == ""
    with pytest.raises(OSError, match="symbolic links"):
        read(directory)
    save(directory, Announcement.written("new", "", "root"))
    assert secret.read_text() == '{"banner": "secret"}'
    assert shown(directory) == "[new][new]"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"banner": "a", "x": 1}', "x" * 100_000, "[" * 9999]
)
def test_what_is_no_announcement_is_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert shown(tmp_path) == ""
    with pytest.raises(ValueError, match=r"\S"):
        read(tmp_path)


def test_a_pipe_in_place_of_the_file_does_not_stop_the_hub(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    assert shown(tmp_path) == ""
