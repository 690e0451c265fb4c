# A hub for a class. `littlest-hub enable class` sets up all of it (docs/how-to/class.md); this file
# alone is not enough.
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.classroom import environment, logins

# How people log in:
#   "system"     accounts of this machine, with their passwords
#   "first-use"  names that your fragments allow; each chooses a password at the first login
#   "sign-up"    whoever signs up, once an administrator has let them in
#   "other"      as another fragment says, such as 41-oidc.py
LOGIN = "system"
# Who administers the hub, besides those of your other fragments; "": nobody else.
ADMIN = ""

require_enabled("class")
logins.configure(c, LOGIN, ADMIN)
environment.configure(c)
