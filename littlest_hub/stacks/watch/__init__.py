"""A daily look at the hub: the administrator is told what is wrong, and hears nothing otherwise."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="watch",
    title="a look at the hub every day, which tells you by mail or webhook what is wrong",
    questions=(
        Question(
            key="mail",
            text="Mail address to write to, through this machine's sendmail; nothing: no mail",
            default="",
            pattern=r"([A-Za-z0-9._%+-]{1,64}(@[A-Za-z0-9.-]{1,190})?)?",
            expected="a mail address, the name of a user of this machine, or nothing",
        ),
        Question(
            key="webhook",
            text="Web address to send the text to, or a file that contains it; nothing: none",
            default="",
            pattern=r"(https?://[!-~]{1,500}|/[!-~]{1,500})?",
            expected="https://…, the path of a file that contains such an address, or nothing",
        ),
        Question(
            key="ignore",
            text="Subjects of doctor that are no news, such as backup,memory; nothing: none",
            default="",
            pattern=r"[A-Za-z0-9 ._@,/-]{0,200}",
            expected="subjects as `doctor` prints them, with commas between",
        ),
    ),
    one_of=("mail", "webhook"),
    after_enable="littlest_hub.stacks.watch.command:after_enable",
    units="littlest_hub.stacks.watch.units:units",
    commands={"watch": "littlest_hub.stacks.watch.command:run"},
    doctor=("littlest_hub.stacks.watch.probes:everything",),
    page="docs/how-to/watch.md",
    tests=("tests/unit/stacks/watch/test_news.py", "tests/container/test_watch.py"),
)
