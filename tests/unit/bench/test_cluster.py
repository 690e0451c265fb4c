"""The figures of the comparison of Slurm's spawners."""

from tests.bench.cluster import requests_in

# sdiag of Slurm 22.05.8.
SDIAG = """\
*******************************************************
sdiag output at Mon Nov 30 03:38:12 2026 (1796009892)
*******************************************************
Server thread count:  1
Jobs submitted: 20

Remote Procedure Call statistics by message type
	REQUEST_PARTITION_INFO                  ( 2009) count:145    ave_time:331    total_time:48080
	REQUEST_JOB_INFO                        ( 2003) count:142    ave_time:349    total_time:49562
	REQUEST_KILL_JOB                        ( 5032) count:35     ave_time:861    total_time:30166
	REQUEST_COMPLETE_BATCH_SCRIPT           ( 5018) count:8      ave_time:1442   total_time:11540
	MESSAGE_EPILOG_COMPLETE                 ( 6012) count:8      ave_time:163    total_time:1305
	REQUEST_STATS_INFO                      ( 2035) count:4      ave_time:317    total_time:1269
	MESSAGE_NODE_REGISTRATION_STATUS        ( 1002) count:4      ave_time:207    total_time:830

Remote Procedure Call statistics by user
	root            (       0) count:316    ave_time:360    total_time:113840
"""


def test_requests_of_nodes_and_of_the_measurement_itself_do_not_count() -> None:
    assert requests_in(SDIAG) == 145 + 142 + 35
