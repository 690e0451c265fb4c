# A hub for a class. `littlest-hub enable class` sets up all of it (docs/how-to/class.md); this file
# alone is not enough.
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.classroom import accounts, environment, logins

# How people log in:
#   "system"     accounts of this machine, with their passwords
#   "first-use"  names that your fragments allow; each chooses a password at the first login
#   "sign-up"    whoever signs up, once an administrator has let them in
#   "other"      as another fragment says, such as 41-oidc.py
LOGIN = "system"
# Who administers the hub, besides those of your other fragments; "": nobody else.
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

require_enabled("class")
logins.configure(c, LOGIN, ADMIN)
accounts.configure(c)
environment.configure(c)
