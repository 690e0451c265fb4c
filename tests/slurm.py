"""A Slurm cluster of one node, from Debian's packages."""

from tests.eventually import eventually
from tests.machine import Machine

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd", "sudo")

# A machine may lack cgroup controllers here, so limits are used for planning but not enforced;
# config_overrides lets the node have more CPUs than the machine (slurm.conf(5)).
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
    """Configure and start Slurm on a machine with `PACKAGES`, and wait until it accepts jobs."""
    host = machine.run(["hostname"]).stdout.strip()
    machine.put("/etc/slurm/slurm.conf", CONFIGURATION.format(host=host))
    # No plugin above uses cgroups, but slurmd detects their version, and fails on a host that has
    # both.
    machine.put("/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
    machine.systemctl("start", "munge", "slurmctld", "slurmd")
    eventually(
        lambda: machine.run(["sinfo", "--noheader", "--format=%t"]).stdout.strip() == "idle",
        30,
        "the node to be idle",
    )
