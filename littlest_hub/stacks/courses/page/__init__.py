"""The hub's page of courses: administrators make and change them, instructors change rosters.

| module | runs as | answers |
|---|---|---|
| `handlers` | the hub | what does the page show? |
| `client` | the hub | what does root's helper say? |
| `request` | both | what may the page ask for? Values only |
| `changes` | both | which change of a visitor goes on, and how did the last one end? |
| `plans` | root | may the visitor have this, and how is it done? |
| `helper` | root | who asks? It answers, and then carries the plan out |
| `interruption` | root | what happens if the helper is killed? |
"""
