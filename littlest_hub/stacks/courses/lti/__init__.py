"""A course and the learning platform that it belongs to, through LTI 1.3: roster and grades.

The platform offers two services of 1EdTech: Names and Role Provisioning 2.0, and Assignment and
Grade 2.0. Whoever uses them gets an access token for a statement that is signed with the key of
this hub (RFC 7523).

| module | runs as | answers |
|---|---|---|
| `connection` | both | where is the platform, and as whom does it know the hub? Values only |
| `people` | both | who is in the platform's course, and who of them is a student? Values only |
| `records` | root | which course belongs to which platform, and which grades does it have? |
| `keys` | root; the hub shows the public half | what proves that it is this hub? |
| `program`, `requests` | a user that systemd allocates | what does the platform say? |
| `session` | root | the program, started and asked |
| `grades` | root | which grades are to be sent, and which were? |
| `work` | root | the roster, and the grades of an assignment, from one end to the other |
| `command` | root | for the command line |

Only the program has the network, and it has nothing else: root signs, decides and records.
"""
