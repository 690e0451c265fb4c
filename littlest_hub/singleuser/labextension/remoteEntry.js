// The browser's half of littlest_hub/singleuser/upgrade_notice.py: reads at intervals which release the
// hub runs, and suggests a restart of the server once for each new release. It also shows what the
// hub's pages announce, and notices for this user (littlest_hub/hub/pages.py), once for each text, and
// what the server uses (littlest_hub/singleuser/resources.py), and closes the sidebar on a narrow screen.
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
  const NARROW_PX = 600; // less has no room for the sidebar and a notebook

  const activate = (app) => {
    const { base, hubHost, hubPrefix } = app.paths.urls;
    if (!hubPrefix) {
      return; // a server without a hub
    }
    const page = {
      app,
      base,
      hub: `${hubHost || ""}${hubPrefix.replace(/\/$/, "")}`,
      shown: new Set(), // texts, and kinds of warnings
      notices: [], // those that the hub has now
      open: new Map(), // those that are shown now: ids of JupyterLab by text
    };
    addCommands(page);
    repeat(EVERY_MS, () => Promise.allSettled([checkRelease(page), checkAnnouncement(page)]));
    const resources = { item: undefined, before: undefined };
    repeat(RESOURCES_MS, () => checkResources(page, resources));
  };

  // People may open it again, until the page is loaded the next time.
  const closeSidebarIfNarrow = async (app) => {
    if (window.innerWidth < NARROW_PX) {
      await app.restored;
      app.shell.collapseLeft();
    }
  };

  // Looks now, and at intervals while the page is visible.
  const repeat = (everyMs, look) => {
    let lastMs = -Infinity;
    const lookIfDue = () => {
      if (document.hidden || performance.now() - lastMs < everyMs) {
        return;
      }
      lastMs = performance.now();
      look().catch(() => {}); // repeated anyway
    };
    document.addEventListener("visibilitychange", lookIfDue);
    setInterval(lookIfDue, everyMs / 5);
    lookIfDue();
  };

  // --- what people can do

  const addCommands = (page) => {
    const { app, hub } = page;
    const add = (id, label, execute) => app.commands.addCommand(id, { label, execute });
    add(RESTART, "Restart on the hub's page", async () => {
      if (app.commands.hasCommand("docmanager:save-all")) {
        await app.commands.execute("docmanager:save-all").catch(() => {});
      }
      // In this tab, which is useless once its server has stopped. The browser asks for
      // confirmation if a document could not be saved.
      window.location.assign(`${hub}/home`);
    });
    add(HOME, "Open the hub's page in a new tab", () => {
      window.open(`${hub}/home`);
    });
    add(LATER, "Restart later", ({ version }) => dismiss(LATER, version));
    add(READ, "Do not show the announcement again", ({ text }) => dismiss(READ, text));
    add(NOTED, "Do not show the notice again", ({ text }) => {
      // Only of those that the hub still has: the list stays short.
      const kept = noted().filter((each) => page.notices.includes(each));
      dismiss(NOTED, JSON.stringify([...kept, text]));
    });
  };

  const notify = async ({ app }, type, message, actions) => {
    const options = { autoClose: false, actions };
    return app.commands.execute("apputils:notify", { message, type, options });
  };

  const answerOf = async (url, headers = {}) => {
    const response = await fetch(url, { headers, cache: "no-store" });
    return response.ok ? response.json() : null;
  };

  const answerOfServer = ({ base }, path) =>
    answerOf(`${base}littlest-hub/${path}`, { "X-XSRFToken": xsrfToken() });

  // --- releases and announcements

  const checkRelease = async (page) => {
    const { running, active } = (await answerOfServer(page, "release")) ?? {};
    if (!running || !active || running === active) {
      return;
    }
    if (page.shown.has(active) || isDismissed(LATER, active)) {
      return;
    }
    await page.app.restored;
    page.shown.add(active);
    const message =
      `The hub was updated (${active}). Your work is safe. ` +
      "Save it and restart your server when it suits you.";
    await notify(page, "info", message, [
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
    ]);
  };

  const ok = (commandId, text) => ({
    label: "OK",
    caption: "Do not show it again",
    commandId,
    args: { text },
  });

  const more = (label) => ({ label, caption: "Opens the hub's page", commandId: HOME });

  const checkAnnouncement = async (page) => {
    const answer = await answerOf(`${page.hub}/announcement`);
    if (!answer) {
      return;
    }
    page.notices = answer.notices ?? [];
    await Promise.allSettled([...page.open.keys()].map((text) => closeIfGone(page, text)));
    await Promise.allSettled(page.notices.map((text) => showNotice(page, text)));
    const text = textOf(answer.announcement);
    if (!text || page.shown.has(text) || isDismissed(READ, text)) {
      return;
    }
    await page.app.restored;
    page.shown.add(text);
    const actions = [...(text.length > LONGEST_MESSAGE ? [more("Read all")] : []), ok(READ, text)];
    await notify(page, "warning", text, actions);
  };

  const showNotice = async (page, text) => {
    if (page.shown.has(text) || noted().includes(text)) {
      return;
    }
    await page.app.restored;
    page.shown.add(text);
    page.open.set(text, await notify(page, "info", text, [more("Hub's page"), ok(NOTED, text)]));
  };

  const closeIfGone = async ({ app, open, notices, shown }, text) => {
    if (!notices.includes(text)) {
      await app.commands.execute("apputils:dismiss-notification", { id: open.get(text) });
      open.delete(text);
      shown.delete(text);
    }
  };

  // HTML on the hub's pages, and only text here: nothing in it is loaded or run.
  const textOf = (html) => {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    parsed.querySelectorAll("script, style").forEach((element) => element.remove());
    return parsed.body.textContent.trim();
  };

  // --- resources of the server

  const checkResources = async (page, state) => {
    const usage = await answerOfServer(page, "resources");
    if (!usage) {
      return;
    }
    await page.app.restored;
    showResources(state, usage);
    for (const [name, text] of Object.entries(WARNINGS)) {
      const { used, limit } = usage[name] ?? {};
      const isFull = used != null && limit && used > NEARLY * limit;
      if (isFull && !page.shown.has(name)) {
        await notify(page, "warning", text, []);
      }
      isFull ? page.shown.add(name) : page.shown.delete(name);
    }
  };

  // In the status bar: memory, and the rest as its title.
  const showResources = (state, usage) => {
    const parts = describe(state, usage);
    const bar = document.querySelector("#jp-main-statusbar .jp-StatusBar-Right");
    if (!bar || !parts.length) {
      return;
    }
    if (!state.item?.isConnected) {
      state.item = document.createElement("div");
      state.item.id = `${NAME}-resources`;
      state.item.className = "jp-StatusBar-Item";
      state.item.style.cssText = "padding: 0 8px; line-height: 24px; white-space: nowrap;";
      bar.prepend(state.item);
    }
    state.item.textContent = parts[0];
    state.item.title = parts.join("\n");
  };

  const describe = (state, { memory, cpu, tasks, disk }) => {
    const of = (limit) => (limit ? ` of ${limit}` : "");
    const parts = [];
    if (memory?.used != null) {
      parts.push(`Memory ${size(memory.used)}${of(memory.limit && size(memory.limit))}`);
    }
    if (cpu?.used != null) {
      const before = state.before;
      state.before = { used: cpu.used, nowS: performance.now() / 1000 };
      if (before) {
        const busy = (cpu.used - before.used) / (state.before.nowS - before.nowS);
        const limit = cpu.limit && +cpu.limit.toFixed(1);
        parts.push(`Processors ${Math.max(0, busy).toFixed(1)}${of(limit)}`);
      }
    }
    if (tasks?.used != null) {
      parts.push(`Processes and threads ${tasks.used}${of(tasks.limit)}`);
    }
    if (disk?.used != null) {
      parts.push(`Disk: ${size(disk.limit - disk.used)} free`);
    }
    return parts;
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

  // --- choices of this browser, in all its tabs, if it allows local storage

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
      closeSidebarIfNarrow(app).catch(() => {});
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
