# Servers as Slurm jobs of the user who logs in. This machine must be able to submit jobs (sbatch).
#
# The hub submits them as that user (runuser), which its unit does not allow by default.
# 50-slurm.conf is the drop-in that allows it; `littlest-hub enable slurm` installs both files.
#
# If the compute nodes are other machines:
# - They must be able to reach the hub. Make it listen on the cluster's network as well, with
#   `systemctl edit littlest-hub.socket`: ListenStream=10.1.0.1:15001, and set its address:
#   c.JupyterHub.hub_connect_url = "http://head.cluster:15001"
# - `environment` must be a directory that they can see (NFS, module), with JupyterHub of the same
#   major version as here, JupyterLab and batchspawner.
# Options that users choose need a declaration:
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/options-and-links.md
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
# The hub cannot find a job that Slurm requeues on another node.
c.SlurmSpawner.req_options = "--no-requeue"
