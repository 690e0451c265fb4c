"""Commands in messages, as the person who reads them types them."""

import shlex

import pytest

from littlest_hub.errors import as_typed, with_sudo
from littlest_hub.layout import DEFAULT_BASE, Layout


@pytest.mark.parametrize(
    ("user_id", "sudo_user", "expected"),
    [
        (0, "debian", "sudo littlest-hub"),
        (0, None, "littlest-hub"),  # a shell of root's
        (0, "root", "littlest-hub"),
        (1000, "debian", "littlest-hub"),  # sudo -u somebody
    ],
)
def test_who_came_by_sudo_reads_commands_with_sudo(
    monkeypatch: pytest.MonkeyPatch, user_id: int, sudo_user: str | None, expected: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user_id)
    monkeypatch.delenv("SUDO_USER", raising=False)
    if sudo_user:
        monkeypatch.setenv("SUDO_USER", sudo_user)
    assert Layout(DEFAULT_BASE).command == expected
    assert as_typed("littlest-hub") == expected


def test_sudo_is_for_the_whole_command_and_is_there_once() -> None:
    write = "echo a=1 >/etc/sysctl.d/a.conf && sysctl -p"
    sudo, *words = shlex.split(with_sudo(write))
    assert (sudo, words) == ("sudo", ["sh", "-c", write])
    assert with_sudo("sudo passwd alice") == "sudo passwd alice"
    stop = "systemctl stop a.service   # loses what runs; ask first"
    assert with_sudo(stop) == f"sudo {stop}"
