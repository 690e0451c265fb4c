"""Guests: people without a login, for temporary servers of launches that the hub itself offers.

| module | answers |
|---|---|
| `names` | who is a guest? |
| `pages` | the page at which somebody becomes one |
| `sweeping` | which guests and temporary servers are over, and removed? |
"""
