"""What people notice of each change to a hub: ours beside stock JupyterHub with traefik.

`sides` is what is measured, `load` the requests, `kernel` the websocket, `account` the sums.
"""
