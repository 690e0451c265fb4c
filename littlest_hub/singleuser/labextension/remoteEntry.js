// The browser's half of littlest_hub/singleuser/upgrade_notice.py: reads at intervals which release the
// hub runs, and suggests a restart of the server once for each new release. It also shows what the
// hub's pages announce (littlest_hub/hub/pages.py), once for each text.
//
// A prebuilt extension written by hand. The last statement is what a bundler would generate, a module
// federation container. It shares no module with JupyterLab, so it works with all versions; if one
// lacks something, the notice is missing and nothing else happens.
(() => {
  "use strict";

  const NAME = "littlest-hub";
  const RESTART = `${NAME}:restart`;
  const HOME = `${NAME}:home`;
  const LATER = `${NAME}:later`;
  const READ = `${NAME}:read`;
  const LONGEST_MESSAGE = 140; // JupyterLab truncates longer ones
  const EVERY_MS = 5 * 60 * 1000;

  const activate = (app) => {
    const { base, hubHost, hubPrefix } = app.paths.urls;
    if (!hubPrefix) {
      return; // a server without a hub
    }
    const hub = `${hubHost || ""}${hubPrefix.replace(/\/$/, "")}`;
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
        window.location.assign(`${hub}/home`);
      },
    });
    app.commands.addCommand(LATER, {
      label: "Restart later",
      execute: ({ version }) => dismiss(LATER, version),
    });
    app.commands.addCommand(HOME, {
      label: "Open the hub's page in a new tab",
      execute: () => {
        window.open(`${hub}/home`);
      },
    });
    app.commands.addCommand(READ, {
      label: "Do not show the announcement again",
      execute: ({ text }) => dismiss(READ, text),
    });

    const check = async () => {
      if (document.hidden || performance.now() - checkedMs < EVERY_MS) {
        return;
      }
      checkedMs = performance.now();
      await Promise.allSettled([checkRelease(), checkAnnouncement()]);
    };

    const checkRelease = async () => {
      const response = await fetch(`${base}littlest-hub/release`, {
        headers: { "X-XSRFToken": xsrfToken() },
        cache: "no-store",
      });
      if (!response.ok) {
        return;
      }
      const { running, active } = await response.json();
      if (!running || !active || running === active) {
        return;
      }
      if (shown.has(active) || isDismissed(LATER, active)) {
        return;
      }
      await app.restored;
      shown.add(active);
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

    const checkAnnouncement = async () => {
      const response = await fetch(`${hub}/announcement`, { cache: "no-store" });
      if (!response.ok) {
        return;
      }
      const { announcement } = await response.json();
      // HTML on the hub's pages, and only text here: nothing in it is loaded or run.
      const page = new DOMParser().parseFromString(announcement, "text/html");
      page.querySelectorAll("script, style").forEach((element) => element.remove());
      const text = page.body.textContent.trim();
      if (!text || shown.has(text) || isDismissed(READ, text)) {
        return;
      }
      await app.restored;
      shown.add(text);
      const all = { label: "Read all", caption: "Opens the hub's page", commandId: HOME };
      const read = { label: "OK", caption: "Do not show it again", commandId: READ, args: { text } };
      await app.commands.execute("apputils:notify", {
        message: text,
        type: "warning",
        options: {
          autoClose: false,
          actions: [...(text.length > LONGEST_MESSAGE ? [all] : []), read],
        },
      });
    };

    const checkQuietly = () => check().catch(() => {}); // repeated anyway
    document.addEventListener("visibilitychange", checkQuietly);
    setInterval(checkQuietly, EVERY_MS / 5);
    checkQuietly();
  };

  const xsrfToken = () => document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/)?.[1] ?? "";

  // What was dismissed last, in all tabs of this browser, if it allows local storage.
  const dismiss = (kind, what) => {
    try {
      localStorage.setItem(kind, what);
    } catch {}
  };
  const isDismissed = (kind, what) => {
    try {
      return localStorage.getItem(kind) === what;
    } catch {
      return false;
    }
  };

  const plugin = {
    id: `${NAME}:notice`,
    description: "Shows announcements of the hub, and when it runs another release than the server.",
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
