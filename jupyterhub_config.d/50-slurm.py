# Servers as jobs of a Slurm cluster. This machine must be able to submit jobs (sbatch).
# `littlest-hub enable slurm` sets up all of it; this file alone is not enough.
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/slurm.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.slurm.hub import configure

require_enabled("slurm")

# The address of the hub's pages as the nodes see it, http://head.cluster; "": this machine is the
# only node.
ADDRESS = ""

c.JupyterHub.spawner_class = "littlest_hub.stacks.slurm.spawner.SlurmSpawner"
configure(c)  # what jobs report to, and the warning before their end
if ADDRESS:
    c.SlurmSpawner.hub_connect_url = ADDRESS

# The partitions that people may choose, the usual one first, and the most that they may ask for.
# Without any there is no form: each job gets Slurm's defaults. `sinfo` lists the partitions.
c.SlurmSpawner.partitions = {
    # "main": {"hours": 8, "processors": 4, "memory_gb": 8, "gpus": 0},
}
# Accounts, reservations and QOS of Slurm that people may choose; without any, Slurm's defaults.
c.SlurmSpawner.accounts = []
c.SlurmSpawner.reservations = []
c.SlurmSpawner.qos = []
# Options of sbatch for every job, such as "--constraint=local-disk".
c.SlurmSpawner.sbatch_options = []
# The name under which this machine reaches a node, such as "{node}.cluster".
c.SlurmSpawner.node_address = "{node}"
# Where the nodes find this release's Python, if not where it is here:
# from littlest_hub import __version__
# c.SlurmSpawner.python = f"/software/littlest-hub/releases/{__version__}/bin/python3"
# Seconds that a job that runs may take until its server answers.
c.SlurmSpawner.start_timeout = 300

# Minutes before its time limit ends a server: from then on, JupyterLab says so.
c.SlurmSpawner.warn_minutes = 10
# Hours that people may add to the time of a server that is about to end, again and again up to the
# limit of its partition in Slurm:
# c.SlurmSpawner.prolong_hours = 2
