# Logins at an OpenID Connect provider: Keycloak, Entra ID, an institution's single sign-on.
#
# The hub needs HTTPS first: `littlest-hub enable https`. Every step:
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/log-in-elsewhere.md. In short: register the
# hub at the provider, with the redirect URI https://HUB/hub/oauth_callback. The client secret that
# the provider shows goes into a file:
#   sudo install -D -m 600 /dev/stdin /etc/littlest-hub/oidc.secret     (paste, Enter, Ctrl-D)
from littlest_hub.hub.secret_files import read_secret

c.JupyterHub.authenticator_class = "littlest_hub.hub.oauth.OIDCAuthenticator"
c.OAuthenticator.client_id = "CHANGE-ME"
# From https://PROVIDER/.well-known/openid-configuration: authorization, token, userinfo endpoint.
c.OAuthenticator.authorize_url = "https://CHANGE-ME/authorize"
c.OAuthenticator.token_url = "https://CHANGE-ME/token"
c.OAuthenticator.userdata_url = "https://CHANGE-ME/userinfo"
c.OAuthenticator.scope = ["openid", "profile"]
# The claim that is the user's name here. Choose one that users cannot change themselves at the
# provider, or they can become each other. "sub" never changes, but may be hard to read.
c.OAuthenticator.username_claim = "preferred_username"
# Values of that claim. They replace the names of 10-users.py, which are accounts of this machine.
c.Authenticator.admin_users = {"CHANGE-ME"}
c.Authenticator.allowed_users = set()
c.Authenticator.allow_all = False
if any(
    "CHANGE" in each
    for each in (
        c.OAuthenticator.client_id,
        c.OAuthenticator.authorize_url,
        c.OAuthenticator.token_url,
        c.OAuthenticator.userdata_url,
        *c.Authenticator.admin_users,
    )
):
    raise ValueError("put in the client ID, three addresses and your name, in the lines above")
c.OAuthenticator.client_secret = read_secret("/etc/littlest-hub/oidc.secret")
# On the button of the login page:
c.OAuthenticator.login_service = "single sign-on"
#
# To let in everyone whom the provider knows:
#   c.Authenticator.allow_all = True
# To let in members of groups, if the provider has a claim with them:
#   c.OAuthenticator.manage_groups = True
#   c.OAuthenticator.auth_state_groups_key = "oauth_user.groups"
#   c.OAuthenticator.allowed_groups = {"students"}
#   c.OAuthenticator.admin_groups = {"teachers"}
# Names with capital letters are refused, unless "Alice" and "alice" are one person there:
#   c.OIDCAuthenticator.ignores_case = True
# A provider whose certificate is of an authority of your own:
#   c.OAuthenticator.http_request_kwargs = {"ca_certs": "/etc/ssl/certs/example-ca.pem"}
#
# systemd lends each user an account while their server runs. Without this line, a server starts
# only for a user who has an account of the same name on this machine, and runs as that account.
c.SystemdSpawner.dynamic_users = True
