# HTTPS at port 443; http leads there. Without this file: http alone, as before.
#
# Certificates of Let's Encrypt, obtained and renewed by the proxy. The names have to lead to this
# machine, and Let's Encrypt has to reach its port 80 from the internet. Your e-mail address, if you
# give one, is where they write when something is wrong.
c.HubProxy.domains = ["hub.CHANGE-ME.org"]
c.HubProxy.acme_email = ""
if "CHANGE" in c.HubProxy.domains[0]:
    raise ValueError("put in the name of your hub, two lines above")
#
# To try first, with certificates that no browser trusts, and without Let's Encrypt's limits:
#   c.HubProxy.acme_directory = "https://acme-staging-v02.api.letsencrypt.org/directory"
# If only port 443 can be reached from the internet:
#   c.HubProxy.acme_challenge = "tls-alpn-01"
# If neither can, or for "*.example.org": by way of your name server. Its credentials go into
# the proxy's environment: systemctl edit littlest-hub-proxy  ([Service] EnvironmentFile=/etc/…)
#   c.HubProxy.acme_challenge = "dns-01"
#   c.HubProxy.acme_dns_provider = "rfc2136"
# Another authority; the second line if its own certificate is not a public one, the others if it
# has given you an account:
#   c.HubProxy.acme_directory = "https://ca.example.org/acme/directory"
#   c.HubProxy.acme_ca_file = "/etc/ssl/certs/example-ca.pem"
#   c.HubProxy.acme_eab_key_id = "…"
#   c.HubProxy.acme_eab_key = "…"
#
# Certificates that you have, instead of all of the above: PEM, the issuers' after your own. Replace
# the files whenever you like, they are taken up within seconds.
#   c.JupyterHub.ssl_cert = "/etc/ssl/private/hub.crt"
#   c.JupyterHub.ssl_key = "/etc/ssl/private/hub.key"
#
# Browsers that have been here insist on HTTPS for 30 days. Longer, when all is well; or 0, some
# time before this file is to go:
#   c.HubProxy.hsts_max_age = 31536000
