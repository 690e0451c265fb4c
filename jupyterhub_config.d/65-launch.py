# Any git repository as a server of one's own, at /services/launch/. `littlest-hub enable launch`
# sets up all of it; this file alone is not enough.
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/launch.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.launch import hub

# Root reads these values as well, without running this file, so write plain ones.
# The name of the hub, on badges.
TITLE = "JupyterHub"
# The group of the hub whose members may launch; "": everybody who may log in.
GROUP = ""

# Repositories that may be launched, as patterns of HOST/PATH: ["github.com/our-department/*"]. An
# empty list is any repository.
ALLOWED = []
# Repositories that may not be launched, such as ["github.com/somebody/*"].
BANNED = []
# Hosts that are not in the public internet, such as your own GitLab, and their networks:
# HOSTS = ["gitlab.physics.lan"] and NETWORKS = ["10.1.2.0/24"]. Builds reach these networks too,
# for example your own package index.
HOSTS = []
NETWORKS = []
# A file with certificate authorities for these hosts, besides those of the machine.
CA_FILE = ""
# Channels of conda that repositories may use: names, and addresses, which may be those of mirrors.
# If a repository names none, it gets the first one. {}: no packages of conda.
CHANNELS = {"conda-forge": "https://conda.anaconda.org/conda-forge"}

# The most that people may ask for; 0: they cannot choose, and get what all servers get.
MEMORY_GB = 0
PROCESSORS = 0
HOURS = 0
# Launches of one person that may be built at the same time.
BUILDS_PER_PERSON = 2
# Disk for environments. Those that nobody uses are removed first, and built again when somebody
# needs them.
DISK_GB = 30

# How many other people a person may let into a server that they have launched; 0: none.
COLLABORATORS = 10
# Whether people may launch private repositories, with a name and a token of their own at the
# repository's host. They are asked for at each launch, over https only, and are not kept.
PRIVATE = True
# Whether people may read a folder of theirs at a WebDAV server, such as a Nextcloud, in a server
# here. They type their name and password there at each start, over https only. It needs rclone
# and /dev/fuse; a server that is not in the public internet has to be in HOSTS and NETWORKS.
WEBDAV = False
# How many people without a login may be here at the same time. They get temporary servers, of the
# launches in PREPARED alone, and leave nothing. 0: none.
GUESTS = 0
# Directories of this machine that people may have in their servers, by name, with the groups of the
# hub that may read or write: {"data": {"path": "/srv/data", "read": ["physics"], "write": []}}.
# ["*"] is everybody but guests, who are ["guests"]. A server sees only the directories that its
# user has chosen.
VOLUMES = {}
# How many volumes a member of a group of the hub may make for groups that they are in:
# {"staff": 5}; "*" is everybody but guests. {}: nobody makes any, and nobody has those that exist.
GROUP_VOLUMES = {}
# Launches that you offer, by the title that people see: {"Statistics, week 1": {"repo":
# "https://…", "path": "start.ipynb"}}. Write the fields as in the address of the filled-in form.
PREPARED = {}
# Launches of these about which members of a group are not asked, so that a link is one click:
# {"statistics": ["Statistics, week 1"]}. The launch has to name its server.
ONE_CLICK = {}
# Pages about launching here, by title; people and institutions to thank, by name, with an address
# or ""; other hubs with this page, by title, with a slash at the end of their addresses.
DOCUMENTATION = {}
CREDITS = {}
HUBS = {}
# The address of this hub in links and badges, with a slash at its end; "": as the browser has it.
ADDRESS = ""

require_enabled("launch")
hub.configure(c, globals())
