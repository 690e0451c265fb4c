# Logins with GitHub accounts. The hub needs HTTPS first: `littlest-hub enable https`.
#
# Every step: /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/log-in-elsewhere.md. In short:
# register an OAuth app at https://github.com/settings/developers, with the callback URL
# https://HUB/hub/oauth_callback. GitHub shows its client ID; the client secret goes into a file:
#   sudo install -D -m 600 /dev/stdin /etc/littlest-hub/github.secret     (paste, Enter, Ctrl-D)
from littlest_hub.hub.secret_files import read_secret

c.JupyterHub.authenticator_class = "littlest_hub.hub.oauth.GitHubAuthenticator"
c.OAuthenticator.client_id = "CHANGE-ME"
# Names at GitHub, in lower case. They replace those of 10-users.py, which are accounts of this
# machine: a stranger may have the same name at GitHub.
c.Authenticator.admin_users = {"CHANGE-ME"}
c.Authenticator.allowed_users = set()
c.Authenticator.allow_all = False
if any("CHANGE" in each for each in {c.OAuthenticator.client_id, *c.Authenticator.admin_users}):
    raise ValueError("put in the client ID and your name at GitHub, in the lines above")
c.OAuthenticator.client_secret = read_secret("/etc/littlest-hub/github.secret")
#
# To let in the members of an organization, or of a team:
#   c.GitHubOAuthenticator.allowed_organizations = {"our-school", "our-school:teachers"}
#   c.OAuthenticator.scope = ["read:org"]
# A GitHub server of your own:
#   c.GitHubOAuthenticator.github_url = "https://github.example.org"
#
# systemd lends each user an account while their server runs. Without this line, a server starts
# only for a user who has an account of the same name on this machine, and runs as that account.
c.SystemdSpawner.dynamic_users = True
