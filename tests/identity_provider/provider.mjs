// An OpenID Connect provider (npm's oidc-provider) with the users and clients of a JSON file.
// Its login page is oidc-provider's own, for development: it accepts any password.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { Provider } from "oidc-provider";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  // Whatever a user has, at any scope.
  claims: { openid: [...new Set(["sub", ...Object.values(settings.users).flatMap(Object.keys)])] },
  cookies: { keys: [settings.cookie_key] },
  findAccount: (context, id) =>
    settings.users[id] && {
      accountId: id,
      claims: () => ({ sub: `subject of ${id}`, ...settings.users[id] }),
    },
});
const tls = { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) };
createServer(tls, provider.callback()).listen(Number(new URL(settings.issuer).port));
