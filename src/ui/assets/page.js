// The script of the operators' page. It keeps the token of this tab, shows the blocks that the
// gateway sends, and sends changes to the API. All markup comes escaped from the gateway; texts
// that are made here are set as text.
"use strict";
(() => {
  const TOKEN_KEY = "millpond-token";
  const RETRY_MS = 3000;
  const SEARCH_DELAY_MS = 60;
  const CHART_INTERVAL_MS = 60000;
  const NOTICE_MS = 8000;
  // Blocks wait while somebody types, but never longer than this.
  const TYPING_MS = 300;
  const MAX_BLOCK_WAIT_MS = 2000;

  const byId = (id) => document.getElementById(id);
  let token = sessionStorage.getItem(TOKEN_KEY) || "";
  let session = 0;
  let stream = null;
  let searching = null;
  let searchTimer = 0;
  let noticeTimer = 0;
  let blocks = {};
  let blocksTimer = 0;
  let blocksSince = 0;
  let typedAt = -TYPING_MS;
  let plots = [];

  // Requests. A redirect would send the token to another place, so none is followed.
  const send = (path, options = {}) =>
    fetch(path, {
      ...options,
      headers: { Authorization: `Bearer ${token}`, ...options.headers },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });

  const errorOf = async (response) => {
    const text = (await response.text()).trim();
    try {
      const problem = JSON.parse(text);
      return problem.detail || problem.title || text;
    } catch {
      return text || `status ${response.status}`;
    }
  };

  const notify = (text, isBad = false) => {
    const notice = byId("notice");
    notice.textContent = text;
    notice.classList.toggle("bad", isBad);
    notice.hidden = false;
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
  };

  // Replaces markup, and keeps the focus and the open details of what it replaces.
  const replace = (place, html) => {
    const focused = place.contains(document.activeElement) ? keyOf(document.activeElement) : "";
    const open = [...place.querySelectorAll("details[open][id]")].map((details) => details.id);
    const template = document.createElement("template");
    template.innerHTML = html;
    place.replaceChildren(template.content);
    for (const id of open) {
      const details = byId(id);
      if (details) details.open = true;
    }
    if (focused) {
      const elements = place.querySelectorAll("button, summary, input");
      const again = [...elements].find((element) => keyOf(element) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const keyOf = (element) => {
    const { act = "", url = "", sha256 = "", job = "", story = "" } = element.dataset;
    const details = element.tagName === "SUMMARY" ? element.parentElement.id : "";
    return [element.tagName, act, url, sha256, job, story, details].join("\n");
  };

  // Session: the form, the live blocks, and their end.
  const showForm = (error) => {
    session += 1;
    if (stream) stream.abort();
    token = "";
    sessionStorage.removeItem(TOKEN_KEY);
    byId("operators").hidden = true;
    byId("sign-out").hidden = true;
    byId("sign-in").hidden = false;
    byId("connection").textContent = "";
    byId("sign-in-error").textContent = error || "";
    clearTimeout(blocksTimer);
    blocks = {};
    for (const block of document.querySelectorAll(".block")) block.replaceChildren();
    for (const id of ["found", "story"]) byId(id).replaceChildren();
    byId("query").value = "";
    dropPlots();
    byId("token").focus();
  };

  const showOperators = () => {
    byId("sign-in").hidden = true;
    byId("operators").hidden = false;
    byId("sign-out").hidden = false;
    // It is of the time when the page was opened. The block shows the present state.
    byId("public-status").hidden = true;
  };

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  const follow = async () => {
    const own = ++session;
    if (stream) stream.abort();
    while (own === session) {
      const wait = await view(own);
      if (own !== session) return;
      await pause(wait);
    }
  };

  // Follows the live blocks once. Returns how long to wait before the next time.
  const view = async (own) => {
    const connection = byId("connection");
    stream = new AbortController();
    try {
      const response = await send("live", { signal: stream.signal });
      if (own !== session) return 0;
      if (response.status === 401) {
        showForm("This token is not valid.");
        return 0;
      }
      if (!response.ok) {
        const error = await errorOf(response);
        const isFirst = byId("operators").hidden;
        if (isFirst) byId("sign-in-error").textContent = error;
        connection.textContent = `not connected: ${error}`;
        return RETRY_MS;
      }
      sessionStorage.setItem(TOKEN_KEY, token);
      const wasHidden = byId("operators").hidden;
      showOperators();
      if (wasHidden) drawCharts();
      connection.textContent = "live";
      await readLines(response.body, (line) => { if (own === session) take(line); });
      return 0;
    } catch (error) {
      if (own === session) connection.textContent = "not connected, trying again";
      return RETRY_MS;
    }
  };

  const readLines = async (body, each) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) each(JSON.parse(line));
    }
  };

  const take = (message) => {
    if (message.rights) document.body.dataset.rights = message.rights;
    if (!Object.keys(blocks).length) blocksSince = performance.now();
    Object.assign(blocks, message.blocks);
    showBlocks();
  };

  // Replacing all blocks takes as long as several keys, so that they wait while somebody types.
  const showBlocks = () => {
    clearTimeout(blocksTimer);
    const now = performance.now();
    const due = Math.min(typedAt + TYPING_MS, blocksSince + MAX_BLOCK_WAIT_MS);
    if (now < due) {
      blocksTimer = setTimeout(showBlocks, due - now);
      return;
    }
    for (const [id, html] of Object.entries(blocks)) {
      const place = document.querySelector(`[data-block="${id}"]`);
      if (place) replace(place, html);
    }
    blocks = {};
  };

  // Charts.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const dropPlots = () => {
    for (const plot of plots) plot.destroy();
    plots = [];
  };

  const sizeOf = (place) => ({ width: Math.max(place.clientWidth, 200), height: 160 });

  const PERIOD_SECONDS = { "1h": 3600, "24h": 86400, "30d": 2592000 };

  // As in the tables: UTC, and 24 hours.
  const showTime = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");

  const plot = (id, data, period, series, format, range) => {
    const place = byId(id);
    const showTick = (seconds) => showTime(seconds).slice(...(period === "30d" ? [5, 10] : [11, 16]));
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
    const options = {
      ...sizeOf(place),
      scales: {
        x: { range: () => { const end = Date.now() / 1000; return [end - PERIOD_SECONDS[period], end]; } },
        y: { range },
      },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(showTick) },
        { ...axis, size: 70, values: (_, ticks) => ticks.map(format) },
      ],
      series: [{ label: "UTC", value: (_, time) => (time === null ? "–" : showTime(time)) }, ...series.map(([label, name]) => ({
        label,
        stroke: colour(name),
        width: 2,
        points: { show: data[0].length < 30 },
        value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
      }))],
    };
    plots.push(new uPlot(options, data, place));
  };

  const showPercent = (ratio) => `${Math.round(ratio * 100)} %`;
  const showBytes = (count) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
    return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
  };

  const drawCharts = async () => {
    if (!token || byId("operators").hidden) return;
    const own = session;
    const period = document.querySelector("input[name=period]:checked").value;
    try {
      const response = await send(`chart?period=${period}`);
      if (!response.ok || own !== session) return;
      const [times, requests, bytes, sent, received] = await response.json();
      if (own !== session) return;
      dropPlots();
      plot("chart-hits", [times, requests, bytes], period,
        [["by requests", "--series-1"], ["by bytes", "--series-2"]], showPercent, [0, 1]);
      plot("chart-bytes", [times, sent, received], period,
        [["served", "--series-1"], ["fetched", "--series-2"]], showBytes,
        (_, low, high) => [0, Math.max(high || 0, 4096)]);
    } catch {
      // The next drawing tries again.
    }
  };

  // Search.
  const search = async () => {
    const query = byId("query").value.trim();
    if (searching) searching.abort();
    if (!query) {
      byId("found").replaceChildren();
      return;
    }
    searching = new AbortController();
    try {
      const path = `search?q=${encodeURIComponent(query)}`;
      const response = await send(path, { signal: searching.signal });
      if (response.ok) replace(byId("found"), await response.text());
      else notify(await errorOf(response), true);
    } catch (error) {
      if (error.name !== "AbortError") notify("The search failed.", true);
    }
  };

  const showStory = async (url) => {
    try {
      const response = await send(`target?url=${encodeURIComponent(url)}`);
      const story = byId("story");
      if (!response.ok) {
        notify(await errorOf(response), true);
        return;
      }
      story.dataset.url = url;
      replace(story, await response.text());
      story.focus({ preventScroll: true });
      story.scrollIntoView({ block: "nearest" });
    } catch {
      notify("The target could not be read.", true);
    }
  };

  // Actions: method, path, effect.
  const of = (path, data) => {
    const digest = data.sha256 ? `&sha256=${data.sha256}` : "";
    return `../api/v1/${path}?url=${encodeURIComponent(data.url)}${digest}`;
  };
  const ACTIONS = {
    pin: ["Pin", "These bytes become the answer, and are never evicted.",
      (data) => ["PUT", of("pins", data)]],
    refuse: ["Refuse the change", "The bytes of before are pinned, and stay the answer.",
      (data) => ["PUT", of("pins", data)]],
    accept: ["Accept the change", "The target is fetched again. If these bytes come, they become the answer.",
      (data) => ["POST", `${of("refresh", { url: data.url })}&accept=true`,
        { "X-Expected-Sha256": data.sha256 }]],
    unpin: ["Unpin", "All pins of this target are removed.",
      (data) => ["DELETE", of("pins", { url: data.url })]],
    refresh: ["Refresh", "The target is fetched again. Other bytes are stored, and do not answer.",
      (data) => ["POST", of("refresh", { url: data.url })]],
    "refresh-accept": ["Refresh and accept", "The target is fetched again. Other bytes become the answer.",
      (data) => ["POST", `${of("refresh", { url: data.url })}&accept=true`]],
    evict: ["Evict", "The object is removed from the disk and the bucket. Its records stay.",
      (data) => ["DELETE", `../api/v1/objects/sha256/${data.sha256}`]],
    remove: ["Remove", "The target is removed with its records and objects, and what it must be is forgotten.",
      (data) => ["DELETE", of("objects", { url: data.url })]],
    "cancel-job": ["Cancel the job", "What it has stored stays.",
      (data) => ["DELETE", `../api/v1/jobs/${data.job}`]],
    import: ["Import", "The file becomes the answer for this target, and is pinned.",
      (data) => ["PUT", of("objects", { url: data.url })]],
  };

  const confirmed = (title, effect, target) => new Promise((answer) => {
    const dialog = byId("confirm");
    byId("confirm-title").textContent = title;
    byId("confirm-effect").textContent = effect;
    byId("confirm-target").textContent = target;
    byId("confirm-yes").textContent = title;
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });

  const act = async (name, data, body) => {
    const [title, effect, request] = ACTIONS[name];
    if (!(await confirmed(title, effect, data.url || data.job || ""))) return;
    const [method, path, headers] = request(data);
    notify(`${title}: working`);
    try {
      const response = await send(path, { method, headers, body });
      if (!response.ok) {
        notify(`${title}: ${await errorOf(response)}`, true);
        return;
      }
      notify(`${title}: done`);
      if (data.url && byId("story").dataset.url === data.url) await showStory(data.url);
    } catch {
      notify(`${title}: the gateway did not answer`, true);
    }
  };

  const startJob = async (form) => {
    const { kind: kinds, input, list, registries, concurrency } = form.elements;
    // The value of a copy has its destination too.
    const [kind, to] = kinds.value.split(" ");
    const order = {
      kind,
      to,
      [input.value]: list.value,
      registries: registries.value.split(/\s+/).filter(Boolean),
      concurrency: Number(concurrency.value),
    };
    const count = list.value.split("\n").filter((line) => line.trim()).length;
    let scope = count ? `It works on ${count} lines.` : "It works on all objects.";
    if (input.value !== "list") scope = "It fetches the files that the text names.";
    if (!(await confirmed("Start the job", scope, kinds.selectedOptions[0].textContent))) return;
    try {
      const response = await send("../api/v1/jobs", { method: "POST", body: JSON.stringify(order) });
      if (!response.ok) {
        notify(await errorOf(response), true);
        return;
      }
      const { notes } = await response.json();
      list.value = "";
      byId("job-order").open = false;
      byId("job-notes").textContent = notes.join("\n");
      notify("The job has started.");
    } catch {
      notify("The gateway did not answer.", true);
    }
  };

  // Input.
  byId("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    byId("sign-in-error").textContent = "";
    // A field of a header holds visible ASCII only.
    if (!/^[\x21-\x7e]+$/.test(token)) showForm("This token is not valid.");
    else follow();
  });
  byId("sign-out").addEventListener("click", () => {
    showForm();
    location.reload();
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(searchTimer);
    search();
  });
  byId("query").addEventListener("input", () => {
    typedAt = performance.now();
    clearTimeout(searchTimer);
    searchTimer = setTimeout(search, SEARCH_DELAY_MS);
  });
  byId("job-kind").addEventListener("change", (event) => {
    const kind = event.target.value;
    byId("job-list").required = !/^(scrub|migrate)/.test(kind);
    byId("job-input").disabled = kind !== "fetch";
    if (kind !== "fetch") byId("job-input").value = "list";
  });
  byId("job-form").addEventListener("submit", (event) => {
    event.preventDefault();
    startJob(event.target);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-story], button[data-act]");
    if (!button) return;
    if (button.dataset.story) showStory(button.dataset.story);
    else act(button.dataset.act, { ...button.dataset });
  });
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (input.name === "period") drawCharts();
    if (input.dataset.act === "import" && input.files.length) {
      act("import", { ...input.dataset }, input.files[0]).then(() => { input.value = ""; });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  new ResizeObserver(() => {
    for (const shown of plots) shown.setSize(sizeOf(shown.root.parentElement));
  }).observe(byId("main"));
  setInterval(drawCharts, CHART_INTERVAL_MS);

  if (token) follow();
})();
