# Home directories for accounts that have none. Root makes them at the first start of a server, with
# the files of /etc/skel. For accounts that come from a directory service.
from littlest_hub.hub.root_hooks import RootHook

c.Spawner.pre_spawn_hook = RootHook("make-home")

# Accounts too, for users who log in with another authenticator, or whom an administrator adds:
# c.LocalAuthenticator.create_system_users = True
