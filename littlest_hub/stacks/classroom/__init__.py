"""The class stack: logins, accounts and one environment for a teacher and 20 to 50 students."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="class",
    title="a hub for a class: how people log in, their accounts, one environment for all",
    fragments=("60-class.py",),
    questions=(
        Question(
            key="login",
            text="How people log in: system, or other",
            default="system",
            pattern=r"system|other",
            expected="system, or other",
        ),
        Question(
            key="admin",
            text="Login name of the teacher, who administers the hub",
            default="",
            pattern=r"([a-z0-9][a-z0-9._@-]{0,63})?",
            expected="a login name in lower case, or nothing",
        ),
    ),
    page="docs/how-to/class.md",
    tests=("tests/unit/stacks/classroom/test_logins.py",),
)
