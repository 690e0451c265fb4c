# Announcements, written at /services/announce/. `littlest-hub enable announce` sets up all of it;
# this file alone is not enough. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/announce.md
from littlest_hub.manifest.enabled import stack_service
from littlest_hub.stacks.announce import on_pages

# Administrators may write announcements, and the members of this group of the hub; "": nobody else.
GROUP = ""

c.JupyterHub.services.append(stack_service("announce", oauth_no_confirm=True))
c.JupyterHub.load_roles.append(
    {
        "name": "announce",
        "description": "Write announcements",
        "scopes": ["access:services!service=announce"],
        "groups": [GROUP] if GROUP else [],
    }
)
c.JupyterHub.template_vars.update(on_pages.template_vars())
c.JupyterHub.template_paths.append(on_pages.TEMPLATES)
