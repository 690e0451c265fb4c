"""Outages that users notice at each change to a hub: ours and stock JupyterHub with traefik.

`sides` has the hubs, `load` the requests, `kernel` the websocket, `account` the sums.
"""
