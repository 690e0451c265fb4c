"""Names of traefik's entry points, shared by units, supervisor and hub.

traefik uses an inherited socket for the entry point whose name is the FileDescriptorName= of the
socket; jupyterhub-traefik-proxy expects "http" and "auth_api".
"""

PUBLIC_ENTRY_POINT = "http"
HTTPS_ENTRY_POINT = "https"
"""It exists while fragments configure HTTPS."""
API_ENTRY_POINT = "auth_api"
"""traefik's API, where the hub reads which routes are loaded."""
READY_ENTRY_POINT = "ready"
"""A traefik answers there as soon as it has loaded its routes."""
