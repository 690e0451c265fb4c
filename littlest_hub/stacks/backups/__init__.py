"""Backups of homes, shared folders, gradebooks and the hub with restic, and a page to restore."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="backups",
    title="encrypted backups of homes and the hub every night, and a page to restore files",
    fragments=("56-backups.py",),
    programs={"restic": "apt-get install restic"},
    questions=(
        Question(
            key="repository",
            text="Where backups go: a directory, sftp:USER@HOST:/PATH, rest:https://…, or s3:https://…",
            default="/var/backups/littlest-hub",
            pattern=r"/[A-Za-z0-9._/+-]{1,200}|(sftp|rest|s3):[A-Za-z0-9._:/@+-]{3,300}",
            expected="an absolute path, or an address that begins with sftp:, rest:, or s3:",
        ),
        Question(
            key="password_file",
            text="File with the password of a repository that exists; nothing: a new password",
            default="",
            pattern=r"(/[!-~]{1,300})?",
            expected="an absolute path, or nothing",
        ),
    ),
    service="backups",
    units="littlest_hub.stacks.backups.units:units",
    commands={"backups": "littlest_hub.stacks.backups.command:run"},
    before_enable="littlest_hub.stacks.backups.activation:before_enable",
    after_enable="littlest_hub.stacks.backups.activation:after_enable",
    after_disable="littlest_hub.stacks.backups.activation:after_disable",
    check=("littlest_hub.stacks.backups.rules:values", "littlest_hub.stacks.backups.rules:restic"),
    doctor=("littlest_hub.stacks.backups.probes:backups",),
    backs_up=True,
    leaves="the password of the repository, without which nobody can read the backups",
    page="docs/how-to/backups.md",
    tests=(
        "tests/unit/stacks/backups/test_settings.py",
        "tests/unit/stacks/backups/test_creation.py",
        "tests/unit/stacks/backups/test_helper.py",
        "tests/unit/stacks/backups/test_restore.py",
        "tests/unit/stacks/backups/test_doctor.py",
        "tests/container/test_backups.py",
        "tests/browser/test_backups_page.py",
    ),
)
