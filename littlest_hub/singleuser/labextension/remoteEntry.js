// The browser's half of littlest_hub/singleuser/upgrade_notice.py: reads at intervals which release the
// hub runs, and suggests a restart of the server once for each new release. It also shows what the
// hub's pages announce, and notices for this user (littlest_hub/hub/pages.py), once for each text, and
// what the server uses (littlest_hub/singleuser/resources.py).
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
  const NOTED = `${NAME}:noted`;
  const LONGEST_MESSAGE = 140; // JupyterLab truncates longer ones
  const EVERY_MS = 5 * 60 * 1000;
  const RESOURCES_MS = 15 * 1000;
  const NEARLY = 0.95; // of a limit

  const activate = (app) => {
    const { base, hubHost, hubPrefix } = app.paths.urls;
    if (!hubPrefix) {
      return; // a server without a hub
    }
    const hub = `${hubHost || ""}${hubPrefix.replace(/\/$/, "")}`;
    const shown = new Set();
    let checkedMs = -Infinity;
    let notices = [];

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
    app.commands.addCommand(NOTED, {
      label: "Do not show the notice again",
      // Only of those that the hub still has: the list stays short.
      execute: ({ text }) => {
        const kept = noted().filter((each) => notices.includes(each));
        dismiss(NOTED, JSON.stringify([...kept, text]));
      },
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
      const answer = await response.json();
      const { announcement } = answer;
      notices = answer.notices ?? [];
      await Promise.allSettled(notices.map(showNotice));
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

    const showNotice = async (text) => {
      if (shown.has(text) || noted().includes(text)) {
        return;
      }
      await app.restored;
      shown.add(text);
      const read = { label: "OK", caption: "Do not show it again", commandId: NOTED, args: { text } };
      await app.commands.execute("apputils:notify", {
        message: text,
        type: "info",
        options: { autoClose: false, actions: [read] },
      });
    };

    // In the status bar: memory, and the rest as its title.
    let before; // seconds of processors, and when they were read
    let item;
    let readMs = -Infinity;
    const showResources = async () => {
      if (document.hidden || performance.now() - readMs < RESOURCES_MS) {
        return;
      }
      readMs = performance.now();
      const response = await fetch(`${base}littlest-hub/resources`, {
        headers: { "X-XSRFToken": xsrfToken() },
        cache: "no-store",
      });
      if (!response.ok) {
        return;
      }
      const { memory, cpu, tasks, disk } = await response.json();
      await app.restored;
      const parts = [];
      if (memory?.used != null) {
        parts.push(`Memory ${size(memory.used)}${memory.limit ? ` of ${size(memory.limit)}` : ""}`);
      }
      if (cpu?.used != null) {
        const nowS = performance.now() / 1000;
        if (before) {
          const busy = Math.max(0, (cpu.used - before.used) / (nowS - before.nowS));
          parts.push(`Processors ${busy.toFixed(1)}${cpu.limit ? ` of ${+cpu.limit.toFixed(1)}` : ""}`);
        }
        before = { used: cpu.used, nowS };
      }
      if (tasks?.used != null) {
        parts.push(`Processes and threads ${tasks.used}${tasks.limit ? ` of ${tasks.limit}` : ""}`);
      }
      if (disk?.used != null) {
        parts.push(`Disk: ${size(disk.limit - disk.used)} free`);
      }
      const bar = document.querySelector("#jp-main-statusbar .jp-StatusBar-Right");
      if (bar && parts.length) {
        if (!item?.isConnected) {
          item = document.createElement("div");
          item.id = `${NAME}-resources`;
          item.className = "jp-StatusBar-Item";
          item.style.cssText = "padding: 0 8px; white-space: nowrap;";
          bar.prepend(item);
        }
        item.textContent = parts[0];
        item.title = parts.join("\n");
      }
      const full = { memory, disk };
      for (const [name, text] of Object.entries(WARNINGS)) {
        const { used, limit } = full[name] ?? {};
        const isFull = used != null && limit && used > NEARLY * limit;
        if (isFull && !shown.has(name)) {
          await app.commands.execute("apputils:notify", {
            message: text,
            type: "warning",
            options: { autoClose: false },
          });
        }
        isFull ? shown.add(name) : shown.delete(name);
      }
    };
    const showQuietly = () => showResources().catch(() => {}); // repeated anyway
    document.addEventListener("visibilitychange", showQuietly);
    setInterval(showQuietly, RESOURCES_MS);
    showQuietly();

    const checkQuietly = () => check().catch(() => {}); // repeated anyway
    document.addEventListener("visibilitychange", checkQuietly);
    setInterval(checkQuietly, EVERY_MS / 5);
    checkQuietly();
  };

  const WARNINGS = {
    memory:
      "Your server has used nearly all of its memory. If it needs more, a kernel ends. " +
      "Shut down kernels that you do not need.",
    disk: "The disk with your files is nearly full. Delete what you do not need, or files cannot be saved.",
  };

  const size = (bytes) => {
    const units = ["B", "KB", "MB", "GB", "TB"];
    const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
    const number = bytes / 1024 ** step;
    return `${number < 10 && step > 2 ? number.toFixed(1) : Math.round(number)} ${units[step]}`;
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

  // The notices that were read.
  const noted = () => {
    try {
      return JSON.parse(localStorage.getItem(NOTED)) ?? [];
    } catch {
      return [];
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
