# Behind nginx, Apache or another proxy that people's browsers talk to.
#
# To let nobody past it, have the hub listen for this machine alone:
#   LITTLEST_HUB_PORT=127.0.0.1:8000 littlest-hub install     (or before the installer's command)
# What the proxy in front has to say, for nginx and Apache, is in docs/how-to/behind-nginx.md.
#
# Whose word counts on where a request comes from and whether by HTTPS (X-Forwarded-For and
# X-Forwarded-Proto): addresses or networks of the proxy in front, as seen from here.
c.HubProxy.trusted_proxies = ["127.0.0.1", "::1"]
# The hub below a path of a web site; the proxy in front has to leave the path as it is:
#   c.JupyterHub.base_url = "/jupyter/"
# The address that people use, where links have to be right outside of their browsers:
#   c.JupyterHub.public_url = "https://www.example.org/jupyter/"
