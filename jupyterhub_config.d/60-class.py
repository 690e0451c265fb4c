# A hub for a class. `littlest-hub enable class` sets up all of it; this file alone is not enough.
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/class.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.classroom import assignments, culling, environment, logins, page, servers

# How people log in:
#   "system"     accounts of this machine, with their passwords
#   "first-use"  names that your fragments allow; each chooses a password at the first login
#   "sign-up"    people who sign up, once an administrator has let them in
#   "other"      as another fragment says, such as 41-oidc.py
LOGIN = "system"
# An administrator of the hub, besides those of your other fragments; "": nobody else.
ADMIN = ""

# Unless LOGIN is "system", people get accounts of this machine at the first start of their server.
# Root reads the values below without running this file, so write plain ones.
# Names of accounts begin with this; without it, they can collide with names of the machine.
ACCOUNT_PREFIX = "jupyter-"
# The directory of home directories.
ACCOUNT_HOMES = "/home"
# Groups of this machine by name, with the logins of their members; "*" is everybody. Missing groups
# are made: {"class": ["*"], "project": ["alice", "bob"]}
ACCOUNT_GROUPS = {}
# People who have an account already, by login: {"alice": "ubuntu"}
ACCOUNT_NAMES = {}
# With LOGIN = "other": True gives each login the account of the same name if there is one, for
# example in LDAP. Write it only if nobody can choose their own name at that login.
EXISTING_ACCOUNTS = False
# Administrators of the hub may use sudo in terminals of their servers.
ADMINS_HAVE_SUDO = True

# Folders that people share, by name. Kinds: in a "read-only" folder all read, and the group writes;
# a "group" folder is for the group alone; into a "drop-box" all put something, and only the group
# reads it: {"data": {"kind": "read-only", "group": "teachers"}}
SHARED = {}
# Limits of a server, for all, for a group, and for a person by login:
#   {"*": {"memory": "2G", "cpu": 2, "tasks": 500}, "group:heavy": {"memory": "8G"}}
LIMITS = {}

# Servers that are idle for this time are stopped; one that computes is not idle. Seconds; 0: never.
CULL_IDLE_S = 3600
# How often idle servers are looked for. Seconds.
CULL_EVERY_S = 300
# Servers of this age are stopped, even if they compute. Seconds; 0: never.
CULL_MAX_AGE_S = 0
# Other times for members of groups of the hub; of several groups, the longest time counts:
#   {"thesis": {"idle_s": 86400, "max_age_s": 0}}
CULL_GROUPS = {}
# True: users who are idle for CULL_IDLE_S are deleted from the hub. Only for guests.
CULL_USERS = False
# True: in servers that go on, kernels are stopped that have run no cell for CULL_KERNEL_IDLE_S, and
# with CULL_CONNECTED_KERNELS also those of notebooks that are open.
CULL_KERNELS = False
CULL_KERNEL_IDLE_S = 3600
CULL_CONNECTED_KERNELS = False

require_enabled("class")
logins.configure(c, LOGIN, ADMIN)
servers.configure(c, globals())
environment.configure(c)
culling.configure(c, globals())
assignments.configure(c)
page.configure(c)
