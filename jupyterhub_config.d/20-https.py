# HTTPS on port 443, to which http redirects. Without this file: only http.
#
# The proxy obtains certificates from Let's Encrypt and renews them. The names must resolve to this
# machine, and Let's Encrypt must be able to reach its port 80 from the internet. If you give an
# e-mail address, Let's Encrypt writes to it when something is wrong.
c.HubProxy.domains = ["hub.CHANGE-ME.org"]
c.HubProxy.acme_email = ""
if "CHANGE" in c.HubProxy.domains[0]:
    raise ValueError("put in the name of your hub, two lines above")
#
# To try it first, with certificates that no browser trusts, but without Let's Encrypt's limits:
#   c.HubProxy.acme_directory = "https://acme-staging-v02.api.letsencrypt.org/directory"
# If only port 443 can be reached from the internet:
#   c.HubProxy.acme_challenge = "tls-alpn-01"
# If neither port can, or for "*.example.org": prove ownership through your name server. Put its
# credentials into the proxy's environment:
# systemctl edit littlest-hub-proxy  ([Service] EnvironmentFile=/etc/…)
#   c.HubProxy.acme_challenge = "dns-01"
#   c.HubProxy.acme_dns_provider = "rfc2136"
# Another authority. Add the second line if its own certificate is not publicly trusted, and the
# others if it has given you an account:
#   c.HubProxy.acme_directory = "https://ca.example.org/acme/directory"
#   c.HubProxy.acme_ca_file = "/etc/ssl/certs/example-ca.pem"
#   c.HubProxy.acme_eab_key_id = "…"
#   c.HubProxy.acme_eab_key = "…"
#
# To use certificates that you have, instead of all of the above: PEM, your own certificate first,
# then its issuers'. You can replace the files at any time; new ones are in use within seconds.
#   c.JupyterHub.ssl_cert = "/etc/ssl/hub.crt"
#   c.JupyterHub.ssl_key = "/etc/ssl/hub.key"
#
# Browsers that have visited insist on HTTPS for 30 days. Choose more when all is well, or 0 some
# time before you remove this file:
#   c.HubProxy.hsts_max_age = 31536000
