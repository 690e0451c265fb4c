"""Servers as jobs of a Slurm cluster, which go on while the hub is reloaded or restarted."""

from littlest_hub.manifest.manifest import Manifest, Question

MANIFEST = Manifest(
    name="slurm",
    title="servers as jobs of a Slurm cluster, on machines that are its nodes",
    fragments=("50-slurm.py",),
    questions=(
        Question(
            key="address",
            text="Address of the hub's pages as the nodes see it; nothing: this is the only node",
            default="",
            pattern=r"(https?://[A-Za-z0-9.:\[\]-]{1,200})?",
            expected="http://head.cluster, or nothing",
        ),
    ),
    commands={"nodes": "littlest_hub.stacks.slurm.nodes:run"},
    after_enable="littlest_hub.stacks.slurm.nodes:after_enable",
    units="littlest_hub.stacks.slurm.units:units",
    check=(
        "littlest_hub.stacks.slurm.rules:nothing_to_report_to",
        "littlest_hub.stacks.slurm.rules:servers_of_another_release",
        "littlest_hub.stacks.slurm.rules:choices_without_partitions",
    ),
    doctor=("littlest_hub.stacks.slurm.probes:cluster",),
    elsewhere="littlest_hub.stacks.slurm.leftovers:elsewhere",
    page="docs/how-to/slurm.md",
    tests=(
        "tests/unit/stacks/slurm/test_jobs.py",
        "tests/unit/stacks/slurm/test_options.py",
        "tests/unit/stacks/slurm/test_queue.py",
        "tests/unit/stacks/slurm/test_helper.py",
        "tests/unit/stacks/slurm/test_spawner.py",
        "tests/unit/stacks/slurm/test_time_limit.py",
        "tests/unit/stacks/slurm/test_port.py",
        "tests/unit/stacks/slurm/test_node.py",
        "tests/unit/stacks/slurm/test_nodes.py",
        "tests/unit/stacks/slurm/test_examining.py",
        "tests/unit/stacks/slurm/test_leftovers.py",
        "tests/cluster/test_a_job.py",
        "tests/cluster/test_accounting.py",
        "tests/cluster/test_time_limit.py",
        "tests/cluster/test_least_privilege.py",
        "tests/cluster/test_nodes.py",
        "tests/vm/test_nfs.py",
    ),
)
