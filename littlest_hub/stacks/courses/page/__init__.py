"""The hub's page of courses, on which administrators make them and instructors change rosters.

| module | runs as | answers |
|---|---|---|
| `handlers` | the hub | what does the page show? |
| `client` | the hub | what does root's helper say? |
| `request` | both | what may the page ask for? Values only |
| `changes` | both | which change of a visitor goes on, and how did the last one end? |
| `helper` | root | may the visitor have this, and can it be done? Then it does it |
| `interruption` | root | what happens if the helper is killed? |
"""
