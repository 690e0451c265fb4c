"""Fragments that a check must refuse, each with its line and part of the message."""

from typing import NamedTuple


class Broken(NamedTuple):
    """A fragment with one mistake."""

    what: str
    text: str | bytes
    line: int
    message: str


IMPORT = (
    "No module named 'ldap_helper'; it is not installed in the hub environment; to add it:"
    " littlest-hub packages add PACKAGE"
)

# Each mistake stands where a person would make it; line 1 is mostly a comment.
BROKEN_WITHOUT_SANDBOX = (
    # --- it cannot be run
    Broken("syntax", "# port\nc.JupyterHub.port =\n", 2, "SyntaxError"),
    Broken("bracket", "c.Spawner.args = [\n  '--debug',\n", 1, "was never closed"),
    Broken("tabs", "if True:\n    x = 1\n\ty = 2\n", 3, "TabError"),
    Broken("indentation", "x = 1\n  c.JupyterHub.port = 1\n", 2, "IndentationError"),
    Broken("import", "x = 1\n\nimport ldap_helper\n", 3, IMPORT),
    Broken("name", "\nc.Authenticator.allow_all = true\n", 2, "True and False"),
    Broken("raised", "def f():\n    return 1 / 0\n\n\nf()\n", 2, "ZeroDivisionError"),
    Broken("exit", "x = 1\nraise SystemExit(3)\n", 2, "SystemExit"),
    Broken("nul", b"x = 1\ny = 2\0\n", 2, "null bytes"),
    Broken("encoding", b"x = 1\ny = 'caf\xe9'\n", 2, "utf-8"),
    Broken("crlf", b"x = 1\r\n\r\nc.JupyterHub.prot = 1\r\n", 3, "did you mean 'port'?"),
    Broken("bom", b"\xef\xbb\xbf# text\nc.JupyterHub.prot = 1\n", 2, "did you mean 'port'?"),
    Broken("lazy", "\nc.Spawner.args += ['--debug']\n", 2, "no fragment has set it before"),
    Broken("lazy-item", "\nc.Spawner.environment['A'] = 'b'\n", 2, "no fragment has set it before"),
    Broken("unreadable", "\nopen('/nonexistent/users.txt')\n", 2, "/nonexistent/users.txt"),
    Broken("subconfig", "\n\nload_subconfig('nowhere.py')\n", 3, "nowhere.py"),
    # --- names
    Broken("setting", "# x\nc.JupyterHub.spwner_class = 'x'\n", 2, "did you mean 'spawner_class'?"),
    Broken("class", "\nc.SystemdSpwner.slice = 'x'\n", 2, "did you mean 'SystemdSpawner'?"),
    Broken("case", "\nc.jupyterhub.port = 1\n", 2, "did you mean 'JupyterHub'?"),
    Broken("moved", "\nc.JupyterHub.mem_limit = '1G'\n", 2, "did you mean 'c.Spawner.mem_limit'?"),
    Broken("server", "\nc.ServerApp.port = 1\n", 2, "a class of the user servers"),
    Broken(
        "appended", "\nc.Authenticator.alowed_users.add('x')\n", 2, "did you mean 'allowed_users'"
    ),
    # --- chosen classes
    Broken("spawner", "\nc.JupyterHub.spawner_class = 'simpel'\n", 2, "did you mean 'simple'?"),
    Broken(
        "dotted",
        "c.JupyterHub.authenticator_class = 'jupyterhub.auth.PAMAuthentcator'\n",
        1,
        "did you mean 'jupyterhub.auth.PAMAuthenticator'?",
    ),
    Broken(
        "not-installed",
        "c.JupyterHub.spawner_class = 'nospawner.NoSpawner'\n",
        1,
        "the package nospawner is not installed in the hub environment; to add it:"
        " littlest-hub packages add nospawner",
    ),
    Broken("wrong-class", "\nc.JupyterHub.spawner_class = 'pam'\n", 2, "there is no spawner 'pam'"),
    # --- values
    Broken("type", "\nc.JupyterHub.hub_port = 'x'\n", 2, "expected an int, not the str 'x'"),
    Broken("boolean", "\nc.SystemdSpawner.dynamic_users = 'yes'\n", 2, "expected a boolean"),
    Broken("memory", "\nc.Spawner.mem_limit = '1Q'\n", 2, "1Q is not a valid memory"),
    Broken("multi-line", "c.Spawner.args = [\n    '--debug',\n    7,\n]\n", 1, "int"),
    Broken("append", "\nc.Spawner.args.append(7)\n", 2, "int"),
    Broken("wrong-method", "\nc.Spawner.environment.append('A=b')\n", 2, "expected update()"),
    Broken("update", "# all\nc.JupyterHub.update(\n    {'port': 'x'}\n)\n", 2, "not the str 'x'"),
    Broken(
        "loop",
        "for key in ('port', 'hub_prot'):\n    setattr(c.JupyterHub, key, 8000)\n",
        2,
        "did you mean 'hub_port'?",
    ),
    Broken(
        "with",
        "import contextlib\nwith contextlib.suppress(Exception):\n    x = 1\n"
        "    c.JupyterHub.port = 'x'\n",
        4,
        "not the str 'x'",
    ),
    Broken("environment", "\nc.Spawner.environment = {'A': 1}\n", 2, "expected text or a function"),
    Broken(
        "pattern", "\nc.Authenticator.username_pattern = '['\n", 2, "unterminated character set"
    ),
    Broken(
        "password",
        "c.JupyterHub.authenticator_class = 'shared-password'\n"
        "c.SharedPasswordAuthenticator.user_password = 'short'\n",
        2,
        "at least 8 characters",
    ),
    # --- contradictions
    Broken("letters", "\nc.Authenticator.allowed_users = set('alice')\n", 2, "sets of letters"),
    Broken(
        "user-name",
        "\nc.Authenticator.allowed_users = {'Alice Smith'}\n",
        2,
        "is not a valid user name",
    ),
    Broken("port-range", "\nc.JupyterHub.bind_url = 'http://:80000'\n", 2, "up to 65535"),
    Broken(
        "same-port", "\nc.JupyterHub.bind_url = 'http://:15001'\n", 2, "port 15001 is the hub's"
    ),
    Broken("url", "\nc.JupyterHub.bind_url = '0.0.0.0:80'\n", 2, "expected a URL such as"),
    Broken(
        "address",
        "\nc.JupyterHub.bind_url = 'http://192.0.2.7:80'\n",
        2,
        "not an address of this machine",
    ),
    Broken(
        "domain",
        "c.HubProxy.domains = ['hub.example.org']\nc.HubProxy.domains.append('https://x.org')\n",
        2,
        "is not a host name; expected one such as hub.example.org",
    ),
    Broken("ip-address", "\nc.HubProxy.domains = ['192.0.2.1']\n", 2, "192.0.2.1 is an IP address"),
    Broken("wildcard", "\nc.HubProxy.domains = ['*.a.org']\n", 2, "acme_challenge = 'dns-01'"),
    Broken(
        "provider",
        "c.HubProxy.domains = ['a.org']\nc.HubProxy.acme_challenge = 'dns-01'\n",
        2,
        "expected the name of a provider in HubProxy.acme_dns_provider",
    ),
    Broken("challenge", "\nc.HubProxy.acme_challenge = 'http'\n", 2, "any of ['http-01',"),
    Broken(
        "directory", "\nc.HubProxy.acme_directory = 'http://ca.org/'\n", 2, "expected an https://"
    ),
    Broken("authority", "\nc.HubProxy.acme_ca_file = '/no/ca'\n", 2, "cannot read /no/ca"),
    Broken("account", "\nc.HubProxy.acme_eab_key = 'x'\n", 2, "without HubProxy.acme_eab_key_id"),
    Broken(
        "base-url",
        "\nc.JupyterHub.base_url = 'https://example.org/jupyter/'\n",
        2,
        "expected a path such as '/jupyter/'",
    ),
    Broken("no-host", "c.JupyterHub.public_url = 'https:///'\n", 1, "with a host name"),
    Broken("subdomain", "c.JupyterHub.subdomain_host = 'https://'\n", 1, "https://hub.example.org"),
    Broken(
        "public-url",
        "c.JupyterHub.base_url = '/jupyter'\nc.JupyterHub.public_url = 'https://x.org/hub/'\n",
        2,
        "expected the path /jupyter",
    ),
    Broken(
        "trusted",
        "c.HubProxy.trusted_proxies = [\n    '127.0.0.1', 'localhost']\n",
        1,
        "expected IP addresses or networks: 'localhost'",
    ),
    Broken("half", "\nc.JupyterHub.ssl_cert = '/etc/hostname'\n", 2, "without JupyterHub.ssl_key"),
    Broken(
        "key",
        "c.JupyterHub.ssl_cert = '/etc/hostname'\nc.JupyterHub.ssl_key = '/no/key'\n",
        2,
        "cannot read /no/key",
    ),
    Broken(
        "database",
        "\nc.JupyterHub.db_url = 'sqlite:////no/such/dir/hub.sqlite'\n",
        2,
        "there is no directory /no/such/dir",
    ),
    Broken(
        "driver", "\nc.JupyterHub.db_url = 'postgresql://db/hub'\n", 2, "psycopg2 is not installed"
    ),
    Broken(
        "service",
        "c.JupyterHub.services = [\n    {'name': 'a', 'comand': ['x']},\n]\n",
        1,
        "did you mean 'command'?",
    ),
    Broken(
        "two-services",
        "one = {'name': 'a'}\nc.JupyterHub.services.append(one)\n"
        "c.JupyterHub.services.append({'name': 'idle-culler'})\n",
        3,
        "is defined 2 times",
    ),
    Broken(
        "scope",
        "\nc.JupyterHub.load_roles = [{'name': 'abc', 'scopes': ['admin:user']}]\n",
        2,
        "did you mean 'admin:users'?",
    ),
    Broken(
        "role-service",
        "c.JupyterHub.load_roles = [\n {'name': 'abc', 'scopes': ['self'],\n"
        "  'services': ['nobody']}]\n",
        1,
        "there is no service 'nobody'",
    ),
    Broken(
        "group",
        "\nc.JupyterHub.load_groups = {'class': {'user': ['a']}}\n",
        2,
        "did you mean 'users'?",
    ),
    Broken("crypt", "\nc.Authenticator.enable_auth_state = True\n", 2, "needs an encryption key"),
    Broken(
        "guarantee", "c.Spawner.mem_limit = '1G'\nc.Spawner.mem_guarantee = '2G'\n", 2, "more than"
    ),
    Broken(
        "control-character",
        "\nc.Spawner.environment = {'A': 'b\\r'}\n",
        2,
        "expected no control characters",
    ),
    Broken(
        "placeholder",
        "\nc.SystemdSpawner.user_workingdir = '/home/{USER}'\n",
        2,
        "there is no placeholder {USER}; expected {USERNAME} or {USERID}",
    ),
    Broken(
        "placeholder-in-arguments",
        "c.Spawner.args = ['--a={}']\nc.Spawner.args.append('--b={username}')\n",
        2,
        "there is no placeholder {username}",
    ),
    Broken(
        "placeholder-in-properties",
        "\nc.SystemdSpawner.unit_extra_properties = {'BindPaths': ['/srv/{uid}']}\n",
        2,
        "there is no placeholder {uid}",
    ),
    Broken(
        "braces-of-another-spawner",
        "c.JupyterHub.spawner_class = 'simple'\nc.Spawner.default_url = '/lab?x={\"a\": 1}'\n",
        2,
        "expected {base_url}, {username}, and {{ for a brace",
    ),
    Broken(
        "option-without-type",
        "\nc.RequestPolicy.user_options = {'size': str}\n",
        2,
        "expected one of traitlets' Bool()",
    ),
    Broken(
        "root-hook",
        "from littlest_hub.hub.root_hooks import RootHook\n"
        "c.Spawner.pre_spawn_hook = RootHook('make-hom')\n",
        2,
        "built in: add-user, make-home",
    ),
    # --- a hub that would not start
    Broken(
        "group-user",
        "\nc.JupyterHub.load_groups = {'class': {'users': ['nobody-else']}}\n",
        2,
        "User nobody-else does not exist",
    ),
    Broken("jinja", "\nc.JupyterHub.jinja_environment_options = {'x': 1}\n", 2, "argument 'x'"),
    Broken(
        "traefik",
        "\nc.TraefikProxy.extra_static_config = {'accessLog': {'no-such-key': 1}}\n",
        2,
        "the proxy refuses it",
    ),
    Broken(
        "traefik-dynamic",
        "\nc.HubProxy.extra_dynamic_config = {'http': {'middlewares': {'m': {'headrs': {}}}}}\n",
        2,
        "the proxy refuses it: field not found, node: headrs",
    ),
    Broken(
        "entry-point",
        "\nc.HubProxy.extra_static_config = {'entryPoints': {'http': {'address': ':81'}}}\n",
        2,
        "is not for fragments to change",
    ),
    Broken(
        "named-service",
        "c.JupyterHub.services.append({'name': 'first'})\n"
        "c.JupyterHub.services.append({'name': 'x', 'oauth_no_confirm': True})\n"
        "c.JupyterHub.services.append({'name': 'last'})\n",
        2,
        "missing required oauth_redirect_uri",
    ),
    Broken("handler", "\nc.JupyterHub.extra_handlers = [('x',)]\n", 2, "would not start"),
    Broken(
        "hook-of-start",
        "def name(user, domain, kind):\n    return 1 / 0\n\n\n"
        "c.JupyterHub.subdomain_host = 'http://hub.example.org'\n"
        "c.JupyterHub.subdomain_hook = name\n"
        "c.JupyterHub.services.append({'name': 'a', 'url': 'http://127.0.0.1:9'})\n",
        2,
        "ZeroDivisionError",
    ),
    Broken("api-url", "\nc.HubProxy.traefik_api_url = 'http://[::1]:9'\n", 2, "no such setting"),
    Broken("api-entry-point", "\nc.HubProxy.traefik_api_entrypoint = 'x'\n", 2, "no such setting"),
    Broken("routes-file", "\nc.HubProxy.dynamic_config_file = '/srv/x'\n", 2, "no such setting"),
    Broken("own-proxy", "\nc.HubProxy.should_start = True\n", 2, "no such setting"),
    Broken("api-hash", "\nc.HubProxy.traefik_api_hashed_password = 'x'\n", 2, "no such setting"),
    Broken("internal-ssl", "\nc.JupyterHub.internal_ssl = True\n", 2, "by http only"),
    Broken("no-routes", "\nc.TraefikProxy.enable_setup_dynamic_config = False\n", 2, "no such"),
    Broken("no-bind-url", "\nc.JupyterHub.bind_url = ''\n", 2, "expected a URL such as"),
    Broken("password-encoding", "\nc.PAMAuthenticator.encoding = 'utf9'\n", 2, "such as 'utf8'"),
    Broken(
        "service-without-host",
        "\nc.JupyterHub.services = [{'name': 'a', 'url': 'http://:443'}]\n",
        2,
        "expected a url with a host",
    ),
    Broken("route-time", "\nc.TraefikProxy.check_route_timeout = -1\n", 2, "1 second or more"),
    Broken("slice", "\nc.SystemdSpawner.slice = 'a b'\n", 2, "systemd refuses it"),
    Broken(
        "property",
        "c.SystemdSpawner.unit_extra_properties = {'Delegate': 'yes'}\n"
        "c.SystemdSpawner.unit_extra_properties['MemoryHihg'] = '1G'\n",
        2,
        "MemoryHihg=: systemd refuses it",
    ),
    Broken(
        "server-directory", "\nc.SystemdSpawner.user_workingdir = 'work'\n", 2, "systemd refuses it"
    ),
    Broken("memory-hog", "\nx = bytearray(3 << 30)\n", 2, "MemoryError"),
)
"""Fragments that are refused wherever they are checked."""
BROKEN_IN_SANDBOX = (
    Broken("write", "import pathlib\npathlib.Path('/etc/x').write_text('x')\n", 2, "may not write"),
    Broken("signal", "import os\nos.kill(1, 9)\n", 2, "may send no signals"),
    Broken(
        "add-user",
        "c.LocalAuthenticator.create_system_users = True\n"
        "c.LocalAuthenticator.add_user_cmd = ['adduser']\n",
        2,
        "root-hooks/add-user",
    ),
    Broken(
        "command", "import subprocess\nsubprocess.run(['false'], check=True)\n", 2, "may not write"
    ),
)
"""Fragments whose mistake only the sandbox of a transient unit finds."""
BROKEN = (*BROKEN_WITHOUT_SANDBOX, *BROKEN_IN_SANDBOX)
"""All of them, more than forty."""
