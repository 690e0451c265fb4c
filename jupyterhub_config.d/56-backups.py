# Backups every night, and a page to restore files. `littlest-hub enable backups` sets up all of it;
# this file alone is not enough. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/backups.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.backups import fragment

# Root reads these values without running this file, so write plain ones.
# Where backups go: a directory, sftp:USER@HOST:/PATH, rest:https://…, or s3:https://…
# After a change: littlest-hub backups init
REPOSITORY = "/var/backups/littlest-hub"
# A file with the password of a repository that exists, which is read once; "": a new password is
# made, and kept in state/stacks/backups/.
PASSWORD_FILE = ""
# The directories that are backed up: homes, and shared folders. The hub itself always is.
FOLDERS = ["/home", "/srv"]
# Names and patterns of files in them that are left out.
EXCLUDED = [".cache", "__pycache__", ".local/share/Trash"]
# Names of SQLite databases that may be in use, such as gradebooks: consistent copies are made.
DATABASES = ["gradebook.db"]
# How many days, weeks and months keep a backup; all backups of the last two days are kept.
DAILY = 14
WEEKLY = 8
MONTHLY = 12
# People restore their own files at /services/backups/.
PEOPLE_RESTORE = True

require_enabled("backups")
fragment.configure(c, globals())
