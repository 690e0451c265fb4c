"""The class stack: logins, accounts and one environment for a teacher and 20 to 50 students."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="class",
    title="a hub for a class: how people log in, their accounts, one environment for all",
    fragments=("60-class.py",),
    questions=(
        Question(
            key="login",
            text="How people log in: system (accounts of this machine), first-use (names that you"
            " allow; the first login sets the password), sign-up (you let them in), or other (as"
            " a fragment of yours says)",
            default="system",
            pattern=r"system|first-use|sign-up|other",
            expected="system, first-use, sign-up, or other",
        ),
        Question(
            key="admin",
            text="Login name of the teacher, who administers the hub",
            default="",
            pattern=r"([a-z0-9][a-z0-9._@-]{0,63})?",
            expected="a login name in lower case, or nothing",
        ),
    ),
    units="littlest_hub.stacks.classroom.units:units",
    commands={
        "class": "littlest_hub.stacks.classroom.command:run",
        "environment": "littlest_hub.stacks.classroom.environment.command:run",
    },
    accounts="littlest_hub.stacks.classroom.accounts.table:names",
    after_enable="littlest_hub.stacks.classroom.command:after_enable",
    check=(
        "littlest_hub.stacks.classroom.logins.rules:replaced_logins",
        "littlest_hub.stacks.classroom.logins.rules:nobody_who_lets_people_in",
        "littlest_hub.stacks.classroom.logins.rules:any_name_at_first_use",
        "littlest_hub.stacks.classroom.accounts.rules:plain_settings",
        "littlest_hub.stacks.classroom.accounts.rules:locked_people",
        "littlest_hub.stacks.classroom.accounts.rules:sudo_for_administrators",
        "littlest_hub.stacks.classroom.rules:culling",
        "littlest_hub.stacks.classroom.rules:limits",
        "littlest_hub.stacks.classroom.rules:shared_folders",
        "littlest_hub.stacks.classroom.rules:lab_settings",
    ),
    doctor=(
        "littlest_hub.stacks.classroom.environment.probe:environment",
        "littlest_hub.stacks.classroom.logins.probe:people",
        "littlest_hub.stacks.classroom.accounts.probe:accounts",
    ),
    ends="log out people who may not log in without the stack, and stop their servers",
    leaves="the people of the class with their passwords and accounts. Homes, shared folders and"
    " the environment stay as well",
    page="docs/how-to/class.md",
    tests=(
        "tests/unit/stacks/classroom/test_logins.py",
        "tests/unit/stacks/classroom/test_people.py",
        "tests/unit/stacks/classroom/test_authenticators.py",
        "tests/unit/stacks/classroom/test_checking.py",
        "tests/unit/stacks/classroom/test_culling.py",
        "tests/unit/stacks/classroom/test_limits.py",
        "tests/unit/stacks/classroom/assignments/test_links.py",
        "tests/unit/stacks/classroom/test_lab_settings.py",
        "tests/unit/stacks/classroom/shared/test_folders.py",
        "tests/container/test_class_logins.py",
        "tests/browser/test_class_logins.py",
        "tests/unit/stacks/classroom/accounts/test_names.py",
        "tests/unit/stacks/classroom/accounts/test_settings.py",
        "tests/unit/stacks/classroom/accounts/test_sudo.py",
        "tests/unit/stacks/classroom/accounts/test_locking.py",
        "tests/container/test_class_accounts.py",
        "tests/container/test_class_moving.py",
        "tests/unit/stacks/classroom/environment/test_tree.py",
        "tests/unit/stacks/classroom/environment/test_helper.py",
        "tests/container/test_class_environment.py",
        "tests/container/test_class_material.py",
        "tests/browser/test_class_material.py",
        "tests/unit/stacks/classroom/test_units.py",
        "tests/unit/stacks/classroom/page/test_usage.py",
        "tests/unit/stacks/classroom/page/test_view.py",
        "tests/unit/stacks/classroom/page/test_disk.py",
        "tests/browser/test_class_page.py",
    ),
)
