# Guests: everybody who opens the page gets a new user and a server, without a login.
#
# Everyone who can reach the hub can run programs on this machine. So use it on a network that you
# trust, or behind a proxy that asks for a password. Nobody administers such a hub in a browser.
import sys

c.JupyterHub.authenticator_class = "tmp"
c.Authenticator.admin_users = set()
c.Authenticator.allow_all = True
# systemd lends each guest an account while the server runs.
c.SystemdSpawner.dynamic_users = True
# At most so many servers at once; further guests are told to come back later.
c.JupyterHub.active_server_limit = 20
# A guest who has been away for half an hour is deleted, and nobody can open their files again. Root
# finds these in /var/lib/private/littlest-hub-former-homes.
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [
            *(sys.executable, "-I", "-m", "jupyterhub_idle_culler"),
            *("--timeout=1800", "--cull-users=True"),
        ],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": [
            *("list:users", "read:users:activity", "read:servers", "delete:servers"),
            "delete:users",
        ],
        "services": ["idle-culler"],
    }
]
