"""The pages by path below /services/launch/."""

from __future__ import annotations

from littlest_hub.stacks.launch.pages.entrance import AskAgain, Entrance
from littlest_hub.stacks.launch.pages.group_volumes import Deletion as VolumeDeletion
from littlest_hub.stacks.launch.pages.group_volumes import Making, OwnVolumes
from littlest_hub.stacks.launch.pages.launching import Launch, Launching
from littlest_hub.stacks.launch.pages.page import Page
from littlest_hub.stacks.launch.pages.servers import Deletion, OwnServers, Removal
from littlest_hub.stacks.launch.pages.sharing import Badge, Sharing, Style
from littlest_hub.stacks.launch.pages.shelf import Decision, Publication, Shelf

PAGES: list[tuple[str, type[Page]]] = [
    ("", Entrance),
    ("ask-again", AskAgain),
    ("launch", Launch),
    ("launching/([0-9a-f]{32})", Launching),
    ("links", Sharing),
    ("gallery", Shelf),
    ("gallery/publish", Publication),
    ("gallery/decide", Decision),
    ("servers", OwnServers),
    ("servers/remove", Removal),
    ("servers/delete", Deletion),
    ("volumes", OwnVolumes),
    ("volumes/make", Making),
    ("volumes/delete", VolumeDeletion),
    (r"badge\.svg", Badge),
    (r"launch\.css", Style),
]
