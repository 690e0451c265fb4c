"""Repositories as servers of one's own: a link becomes a notebook with everything that it needs."""

from littlest_hub.layout import PackageSet
from littlest_hub.manifest.manifest import Manifest, Question

STACK = "launch"
"""The name of the stack, and of its service."""
MANIFEST = Manifest(
    name=STACK,
    title="any git repository as a server of one's own, by a link or a form at /services/launch/",
    fragments=("65-launch.py",),
    packages={PackageSet.TOOLS: ("py-rattler", "uv")},
    programs={"git": "apt install git"},
    questions=(
        Question(
            key="group",
            text="Group of the hub whose members may launch; nothing: everybody who may log in",
            default="",
            pattern=r"[A-Za-z0-9_.@-]{0,64}",
            expected="the name of a group, or nothing",
        ),
    ),
    service=STACK,
    units="littlest_hub.stacks.launch.units:units",
    foreground="littlest_hub.stacks.launch.own_computer.program",
    check=(
        "littlest_hub.stacks.launch.rules:values",
        "littlest_hub.stacks.launch.rules:git",
        "littlest_hub.stacks.launch.rules:webdav",
    ),
    doctor=(
        "littlest_hub.stacks.launch.probes:programs",
        "littlest_hub.stacks.launch.probes:permissions",
        "littlest_hub.stacks.launch.probes:volumes",
        "littlest_hub.stacks.launch.probes:group_volumes",
        "littlest_hub.stacks.launch.probes:webdav",
        "littlest_hub.stacks.launch.probes:packet_filter",
        "littlest_hub.stacks.launch.probes:confinement",
        "littlest_hub.stacks.launch.probes:disk",
    ),
    after_enable="littlest_hub.stacks.launch.hints:after_enable",
    after_disable="littlest_hub.stacks.launch.leftovers:remove",
    leaves="what people have approved, and which versions their environments have. What they have"
    " launched is in ~/launch, and files of volumes of groups in /srv/littlest-hub-volumes",
    page="docs/how-to/launch.md",
    tests=(
        "tests/unit/stacks/launch/test_fragment.py",
        "tests/unit/stacks/launch/test_units.py",
        "tests/unit/stacks/launch/test_volumes.py",
        "tests/unit/stacks/launch/test_group_volumes.py",
        "tests/unit/stacks/launch/test_group_volume_pages.py",
        "tests/unit/stacks/launch/test_group_volume_servers.py",
        "tests/unit/stacks/launch/test_webdav.py",
        "tests/unit/stacks/launch/test_shares.py",
        "tests/unit/stacks/launch/test_gallery.py",
        "tests/unit/stacks/launch/test_pages.py",
        "tests/unit/stacks/launch/test_private.py",
        "tests/unit/stacks/launch/test_launch_spawner.py",
        "tests/unit/stacks/launch/test_own_computer.py",
        "tests/unit/stacks/launch/test_whole_launch.py",
        "tests/container/test_launch.py",
        "tests/container/test_launch_builder.py",
        "tests/container/test_launch_own_computer.py",
        "tests/container/test_launch_resolver.py",
        "tests/container/test_launch_sharing.py",
        "tests/container/test_launch_webdav.py",
        "tests/browser/test_launch.py",
        "tests/browser/test_launch_sharing.py",
    ),
)
