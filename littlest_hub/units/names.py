"""Patterns of user names, without anchors."""

LOGIN_NAME = "[a-z0-9_][a-z0-9_.@-]{0,62}"
"""Users of the hub: useradd(8), with the "." and "@" of directory services and a leading digit."""

UNIT_USER_NAME = "[a-z_][a-z0-9_.-]{0,30}"
"""Users that a hub that is not root starts servers for: names that systemd takes as User=
(systemd.exec(5)), with the "." that useradd(8) may allow."""

SYSTEM_ACCOUNT_NAME = "[a-z_][a-z0-9_-]{0,30}"
"""The hub's own user: sysusers.d(5), in lower case."""

FIRST_UID = 1000
"""The first of people's accounts, UID_MIN of login.defs(5); system accounts are below."""
