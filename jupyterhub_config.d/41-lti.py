# Logins from a course of a learning platform (LTI 1.3): Moodle, Canvas, Open edX.
#
# The hub needs HTTPS first: `littlest-hub enable https`. Every step:
# /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/log-in-elsewhere.md. In short: add the hub to
# the platform as an external tool (LTI 1.3), with
#   tool URL        https://HUB/hub/
#   login URL       https://HUB/hub/lti13/oauth_login
#   redirect URI    https://HUB/hub/lti13/oauth_callback
# The platform shows these four. None of them is a secret.
c.JupyterHub.authenticator_class = "littlest_hub.hub.lti.LearningPlatformAuthenticator"
c.LTI13Authenticator.issuer = "https://CHANGE-ME"
c.LTI13Authenticator.client_id = {"CHANGE-ME"}
c.LTI13Authenticator.authorize_url = "https://CHANGE-ME/auth"
c.LTI13Authenticator.jwks_endpoint = "https://CHANGE-ME/certs"
# The claim that is the user's name here: "email", or "sub", a number or code that never changes.
# The platform must let the tool have it, and its users must not be able to choose it.
c.LTI13Authenticator.username_key = "email"
# Values of that claim. They replace the names of 10-users.py, which are accounts of this machine.
c.Authenticator.admin_users = {"CHANGE-ME"}
if any(
    "CHANGE" in each
    for each in (
        c.LTI13Authenticator.issuer,
        *c.LTI13Authenticator.client_id,
        c.LTI13Authenticator.authorize_url,
        c.LTI13Authenticator.jwks_endpoint,
        *c.Authenticator.admin_users,
    )
):
    raise ValueError("put in what the platform shows and your address, in the lines above")
# Everyone whom the platform sends: those who can open the link in one of its courses.
c.Authenticator.allow_all = True
#
# systemd lends each user an account while their server runs. Without this line, a server starts
# only for a user who has an account of the same name on this machine, and runs as that account.
c.SystemdSpawner.dynamic_users = True
