# For a hub behind nginx, Apache or another proxy that browsers connect to.
#
# To keep visitors from bypassing that proxy, make the hub listen on the loopback interface only:
#   LITTLEST_HUB_PORT=127.0.0.1:8000 littlest-hub install     (or before the installer's command)
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/behind-nginx.md shows what to configure in
# nginx and Apache.
#
# Addresses or networks of the proxy in front, as seen from here. Its X-Forwarded-For and
# X-Forwarded-Proto headers are trusted: they say where a request comes from, and whether by HTTPS.
c.HubProxy.trusted_proxies = ["127.0.0.1", "::1"]
# For a hub below a path of a web site; the proxy in front must pass the path on unchanged:
#   c.JupyterHub.base_url = "/jupyter/"
# The full address that people use, for links outside of the hub's own pages:
#   c.JupyterHub.public_url = "https://www.example.org/jupyter/"
