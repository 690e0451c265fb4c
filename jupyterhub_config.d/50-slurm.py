# Servers as Slurm jobs of the person who logs in. This machine must be able to submit (sbatch).
#
# The hub submits them as that person (runuser), which its unit has no right to by itself:
# 50-slurm.conf is the drop-in that gives it, and `littlest-hub enable slurm` installs both.
#
# With compute nodes other than this machine:
# - they have to reach the hub. Let it listen on the cluster's network as well, in
#   `systemctl edit littlest-hub.socket`: ListenStream=10.1.0.1:15001, and tell them:
#   c.JupyterHub.hub_connect_url = "http://head.cluster:15001"
# - `environment` has to be one that they see (NFS, module), with jupyterhub of the same major
#   version as here, jupyterlab and batchspawner.
# Partition, time, memory: c.SlurmSpawner.req_partition, .req_runtime, .req_memory
import os
import sys

import littlest_hub.hub.batchspawner  # noqa: F401  (batchspawner, its API reduced to what jobs need)

environment = os.path.realpath(sys.prefix)
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.SlurmSpawner.exec_prefix = "runuser -u {username} --"
c.SlurmSpawner.batchspawner_singleuser_cmd = f"{environment}/bin/batchspawner-singleuser"
c.SlurmSpawner.cmd = [f"{environment}/bin/jupyterhub-singleuser"]
c.SlurmSpawner.default_url = "/lab"
# A job that Slurm starts anew elsewhere is one that the hub cannot find.
c.SlurmSpawner.req_options = "--no-requeue"
