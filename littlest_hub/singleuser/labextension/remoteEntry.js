// The browser's half of littlest_hub/singleuser/upgrade_notice.py: reads at intervals which release the
// hub runs, and suggests a restart of the server once for each new release.
//
// A prebuilt extension written by hand. The last statement is what a bundler would generate, a module
// federation container. It shares no module with JupyterLab, so it works with all versions; if one
// lacks something, the notice is missing and nothing else happens.
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
    const shown = new Set();
    let checkedMs = -Infinity;

    app.commands.addCommand(RESTART, {
      label: "Restart on the hub's page",
      execute: async () => {
        if (app.commands.hasCommand("docmanager:save-all")) {
          await app.commands.execute("docmanager:save-all").catch(() => {});
        }
        // In this tab, which is useless once its server has stopped. The browser asks for
        // confirmation if a document could not be saved.
        window.location.assign(`${hubHost || ""}${hubPrefix.replace(/\/$/, "")}/home`);
      },
    });
    app.commands.addCommand(LATER, {
      label: "Restart later",
      execute: ({ version }) => dismiss(version),
    });

    const check = async () => {
      if (document.hidden || performance.now() - checkedMs < EVERY_MS) {
        return;
      }
      checkedMs = performance.now();
      const response = await fetch(`${base}littlest-hub/release`, {
        headers: { "X-XSRFToken": xsrfToken() },
        cache: "no-store",
      });
      if (!response.ok) {
        return;
      }
      const { running, active } = await response.json();
      if (!running || !active || running === active || shown.has(active) || isDismissed(active)) {
        return;
      }
      await app.restored;
      shown.add(active);
      // JupyterLab truncates a message after 140 characters.
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

    const checkQuietly = () => check().catch(() => {}); // repeated anyway
    document.addEventListener("visibilitychange", checkQuietly);
    setInterval(checkQuietly, EVERY_MS / 5);
    checkQuietly();
  };

  const xsrfToken = () => document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/)?.[1] ?? "";

  // "Later" applies to all tabs of this browser, if it allows local storage.
  const dismiss = (version) => {
    try {
      localStorage.setItem(LATER, version);
    } catch {}
  };
  const isDismissed = (version) => {
    try {
      return localStorage.getItem(LATER) === version;
    } catch {
      return false;
    }
  };

  const plugin = {
    id: `${NAME}:notice`,
    description: "Shows a notice when the hub runs another release than the server.",
    autoStart: true,
    activate: (app) => {
      try {
        activate(app);
      } catch {
        // Another version of JupyterLab starts without the notice.
      }
    },
  };

  const containers = (window._JUPYTERLAB ??= {});
  containers[NAME] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
