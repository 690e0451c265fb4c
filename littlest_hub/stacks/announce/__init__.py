"""Announcements: a banner on every page of the hub, and a message of the day."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="announce",
    title="a banner on the hub's pages and a message of the day, written at /services/announce/",
    fragments=("55-announce.py",),
    questions=(
        Question(
            key="group",
            text="Group of the hub whose members may write announcements, besides administrators",
            default="",
            pattern=r"[A-Za-z0-9_.@-]{0,64}",
            expected="the name of a group, or nothing",
        ),
    ),
    service="announce",
    units="littlest_hub.stacks.announce.units:units",
    commands={"announce": "littlest_hub.stacks.announce.command:run"},
    check=("littlest_hub.stacks.announce.rule:replaced_variables",),
    doctor=("littlest_hub.stacks.announce.probe:announcement",),
    page="docs/how-to/announce.md",
    tests=(
        "tests/unit/stacks/announce/test_announcement.py",
        "tests/container/test_stacks.py",
        "tests/browser/test_every_page.py",
    ),
)
