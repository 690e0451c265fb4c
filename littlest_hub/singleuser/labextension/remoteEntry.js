// JupyterLab's half of littlest_hub/singleuser/upgrade_notice.py: asks now and then which release the hub runs, and
// says once for each that the server may be restarted.
//
// A prebuilt extension written by hand: what a bundler would make of it is the last statement, a
// module federation container. It shares no module with JupyterLab and so fits all of its versions;
// what it cannot do there it leaves, silently.
(() => {
  "use strict";

  const NAME = "littlest-hub";
  const RESTART = `${NAME}:restart`;
  const LATER = `${NAME}:later`;
  const EVERY_MS = 5 * 60 * 1000;

  const activate = (app) => {
    const { base, hubHost, hubPrefix } = app.paths.urls;
    if (!hubPrefix) {
      return; // a server without a hub
    }
    const told = new Set();
    let askedMs = -Infinity;

    app.commands.addCommand(RESTART, {
      label: "Restart on the hub's page",
      execute: async () => {
        if (app.commands.hasCommand("docmanager:save-all")) {
          await app.commands.execute("docmanager:save-all").catch(() => {});
        }
        // In this tab, which is useless once its server has stopped; the browser asks first if
        // something could not be saved.
        window.location.assign(`${hubHost || ""}${hubPrefix.replace(/\/$/, "")}/home`);
      },
    });
    app.commands.addCommand(LATER, {
      label: "Restart later",
      execute: ({ version }) => remember(version),
    });

    const ask = async () => {
      if (document.hidden || performance.now() - askedMs < EVERY_MS) {
        return;
      }
      askedMs = performance.now();
      const answer = await fetch(`${base}littlest-hub/release`, {
        headers: { "X-XSRFToken": xsrfToken() },
        cache: "no-store",
      });
      if (!answer.ok) {
        return;
      }
      const { running, active } = await answer.json();
      if (!running || !active || running === active || told.has(active) || remembers(active)) {
        return;
      }
      await app.restored;
      told.add(active);
      // JupyterLab cuts off what is longer than 140 characters.
      const message =
        `The hub was updated (${active}). Your work is safe. ` +
        "Save it and restart your server when it suits you.";
      await app.commands.execute("apputils:notify", {
        message,
        type: "info",
        options: {
          autoClose: false,
          actions: [
            {
              label: "Restart now",
              caption:
                "Saves your documents and opens the hub's page: Stop My Server, then " +
                "Start My Server. Running kernels end.",
              commandId: RESTART,
              displayType: "accent",
            },
            {
              label: "Later",
              caption: "Do not say it again for this version",
              commandId: LATER,
              args: { version: active },
            },
          ],
        },
      });
    };

    const askQuietly = () => ask().catch(() => {}); // the next time will do
    document.addEventListener("visibilitychange", askQuietly);
    setInterval(askQuietly, EVERY_MS / 5);
    askQuietly();
  };

  const xsrfToken = () => document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/)?.[1] ?? "";

  // "Later" counts in all tabs of this browser, where it lets us keep it.
  const remember = (version) => {
    try {
      localStorage.setItem(LATER, version);
    } catch {}
  };
  const remembers = (version) => {
    try {
      return localStorage.getItem(LATER) === version;
    } catch {
      return false;
    }
  };

  const plugin = {
    id: `${NAME}:notice`,
    description: "Says when the hub has moved on to another release.",
    autoStart: true,
    activate: (app) => {
      try {
        activate(app);
      } catch {
        // A JupyterLab that is built otherwise: it starts, without the notice.
      }
    },
  };

  const containers = (window._JUPYTERLAB ??= {});
  containers[NAME] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
