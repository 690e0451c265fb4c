"""A Slurm of one node, from Debian's packages."""

from tests.eventually import eventually
from tests.machine import Machine

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd", "sudo")

# Without cgroup controllers, which a machine may not have here, so limits are planned with but not
# enforced; config_overrides lets the node have more CPUs than the machine (slurm.conf(5)).
CONFIGURATION = """
ClusterName=littlest
SlurmctldHost={host}
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
NodeName={host} CPUs=4 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def start(machine: Machine) -> None:
    """Configure and start Slurm on a machine that has `PACKAGES`; returns when it takes jobs."""
    host = machine.run(["hostname"]).stdout.strip()
    machine.put("/etc/slurm/slurm.conf", CONFIGURATION.format(host=host))
    # No plugin above uses cgroups, but slurmd looks at them and does not know what a host has that
    # mixes both versions.
    machine.put("/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
    machine.systemctl("start", "munge", "slurmctld", "slurmd")
    eventually(
        lambda: machine.run(["sinfo", "--noheader", "--format=%t"]).stdout.strip() == "idle",
        30,
        "the node to be idle",
    )
