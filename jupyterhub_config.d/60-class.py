# A hub for a class. `littlest-hub enable class` sets up all of it (docs/how-to/class.md); this file
# alone is not enough.
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.classroom import assignments, culling, environment, logins, page, servers

# How people log in:
#   "system"     accounts of this machine, with their passwords
#   "first-use"  names that your fragments allow; each chooses a password at the first login
#   "sign-up"    people who sign up, once an administrator has let them in
#   "other"      as another fragment says, such as 41-oidc.py
LOGIN = "system"
# The administrator of the hub, besides those of your other fragments; "": nobody else.
ADMIN = ""

# Accounts of this machine, made at the first start of a server for people who log in otherwise than
# with LOGIN = "system". Root reads these values without running this file, so write plain ones.
# Their names begin with this; without a prefix, names of people and of the machine can collide.
ACCOUNT_PREFIX = "jupyter-"
# The directory of home directories.
ACCOUNT_HOMES = "/home"
# Groups of this machine by name, with the logins of their members; "*" is everybody. Missing groups
# are made: {"class": ["*"], "project": ["alice", "bob"]}
ACCOUNT_GROUPS = {}
# People who have an account already, by login: {"alice": "ubuntu"}
ACCOUNT_NAMES = {}
# With LOGIN = "other": True gives each login the account of the same name if there is one, such as
# those of LDAP. Only if nobody can choose a name at that login.
EXISTING_ACCOUNTS = False
# Administrators of the hub may use sudo in terminals of their servers.
ADMINS_HAVE_SUDO = True

# Folders that people share, by name. The kinds: "read-only" is data that all read, and that the
# group writes; "group" is for the group alone; "drop-box" is where all put something in, and only
# the group reads it: {"data": {"kind": "read-only", "group": "teachers"}}
SHARED = {}
# Limits of a server, for all, for a group, and for a person by login:
#   {"*": {"memory": "2G", "cpu": 2, "tasks": 500}, "group:heavy": {"memory": "8G"}}
LIMITS = {}

# Servers that are idle for this time are stopped; one that computes is not idle. Seconds; 0: never.
CULL_IDLE_S = 3600
# How often to look.
CULL_EVERY_S = 300
# Servers of this age are stopped, whatever they do; 0: never.
CULL_MAX_AGE_S = 0
# Other times for members of groups of the hub; of several groups, the longest time counts:
#   {"thesis": {"idle_s": 86400, "max_age_s": 0}}
CULL_GROUPS = {}
# Users who are idle for CULL_IDLE_S are deleted: only for guests.
CULL_USERS = False
# Kernels are stopped in servers that go on, after this time without a cell; True: also those of
# notebooks that are open.
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
