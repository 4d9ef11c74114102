// The page: sheets, the player and the forms, put together.

let sheets = [];
let active = null;
/** The run in progress: how it is stopped. */
let running = null;

const replay = byId("replay");
const settings = new Settings();
const compose = new Compose({ start, stop });
const player = new Player({ length: () => Math.max(0, ...sheets.map((sheet) => sheet.timeline.last)), draw });
player.finished = () => running === null;
const panel = new WordPanel({ act, alternatives: alternativesOf });

// Sheets

function addSheet(timeline) {
  const sheet = new Sheet(timeline, {
    picked: (position) => {
      player.pause();
      if (timeline.mediaAt(position)) return sheet.select(position);
      panel.open(sheet, position, !replay && running === null);
    },
    selectionChanged: () => {
      if (sheet.selection) panel.hide();
      drawTools();
    },
    activated: () => activate(sheet),
  });
  sheets.push(sheet);
  byId("sheets").append(sheet.element);
  return sheet;
}

/** Puts other sheets on the desk. */
function setSheets(timelines) {
  panel.hide();
  byId("sheets").replaceChildren();
  sheets = [];
  timelines.forEach(addSheet);
  active = sheets[0];
  byId("sheets").dataset.count = sheets.length;
}

function activate(sheet) {
  if (active === sheet) return;
  active = sheet;
  draw(player.shown);
}

/** Draws a frame on all sheets, and beside them what belongs to the active one. */
function draw(frame) {
  if (panel.sheet && panel.frame !== Math.min(frame, panel.sheet.timeline.last)) panel.hide();
  for (const sheet of sheets) {
    sheet.show(frame);
    sheet.element.classList.toggle("chosen", sheet === active && sheets.length > 1);
  }
  const { timeline } = active;
  const bounded = Math.min(frame, timeline.last);
  const facts = timeline.frames[bounded];
  byId("step").textContent = `${frame} / ${player.length()}`;
  byId("scrubber").setAttribute("aria-valuetext", facts ? `step ${bounded} of ${timeline.last}: ${facts.label}` : "no steps yet");
  drawFigures(timeline, bounded);
  drawPlot(timeline, bounded);
  if (facts) {
    byId("plain").textContent = timeline.text(bounded);
  }
  drawTools();
}

// Runs

const WRITING = "Writing…";
/** Alternatives that a trace has for each word, so that a replay can show them. */
const RECORDED = 4;

/** The settings for work on a canvas that exists: its length is what it is. */
function fieldsFor(timeline) {
  const fields = settings.fields();
  // Another seed for each run on the same canvas: noise that is drawn again should be other noise.
  return { ...fields, seed: fields.seed + timeline.runs.length };
}

async function start(mode, text) {
  showError(null);
  if (mode === "chat") return startChat(text);
  if (mode === "edit") return layOut(text);
  if (mode === "fill" && !text.includes("[[")) {
    return showError(new Refusal("the text has no gap; type one as [[3]], or use Insert gap"));
  }
  const fields = { ...settings.fields(), template: text, files: compose.filesOf(text), variations: settings.number("variations"), alternatives: RECORDED };
  if (mode === "continue") fields.max_tokens = settings.number("max_tokens");
  const fresh = Array.from({ length: fields.variations }, () => new Timeline(fields.model, null));
  await runCanvas(fields, () => fresh);
}

/** Lays a text out as words that can be reworked. */
async function layOut(text) {
  try {
    const response = await ask("/tokenize", {
      body: { model: settings.model.name, prompt: text, add_special_tokens: false, return_token_strs: true },
    });
    const { tokens, token_strs: texts } = await response.json();
    const timeline = new Timeline(settings.model.name, null);
    timeline.hear("laid-out", { positions: tokens.map((token, at) => ({ token, text: texts[at], state: "written" })) });
    setSheets([timeline]);
    player.hold(0);
    say("Laid out. Select words, then re-noise them.");
  } catch (error) {
    showError(error);
  }
}

async function startChat(text) {
  const messages = compose.ask(text);
  const timeline = new Timeline(settings.model.name, null);
  timeline.chat = true;
  await run(async (signal) => {
    const body = { ...settings.fields(), messages, max_tokens: settings.number("max_tokens") };
    timeline.seed = body.seed;
    await streamChat(body, {
      signal,
      hear: (name, data) => {
        if (name === "started") {
          timeline.hiddenPrefix = Math.max(0, data.canvas.positions.findIndex(({ state }) => state !== "given"));
          setSheets([timeline]);
        }
        timeline.hear(name, data);
        if (name === "finished") compose.answer(data.text);
        arrived();
      },
    });
  }, [timeline]);
  compose.takeBack();
}

/** Sends a canvas and shows how it settles; `prepare` gives the timelines of the results when the first event comes. */
async function runCanvas(fields, prepare) {
  let timelines = null;
  await run(async (signal) => {
    await streamCanvas(fields, {
      signal,
      dropped: () => say("The connection dropped and was taken up again."),
      hear: (name, data, canvas) => {
        running.canvas = canvas;
        if (name === "opened") {
          if (data.warnings?.length) say(data.warnings.join(" "));
          return;
        }
        if (!timelines) {
          timelines = prepare();
          // Sheets that stand beside the one that is worked on stay.
          const there = new Set(sheets.map((sheet) => sheet.timeline));
          if (!timelines.every((timeline) => there.has(timeline))) setSheets(timelines);
          player.show(Math.max(0, timelines[0].last));
        }
        timelines[data.index ?? 0].hear(name, data);
        arrived();
      },
    });
  }, () => timelines ?? []);
  if (active?.timeline.chat) compose.answer(active.timeline.text());
}

/** New frames arrived: the player goes on to them. */
function arrived() {
  if (running.followed) {
    byId("scrubber").max = player.length();
    return;
  }
  running.followed = true;
  if (narrow.matches) byId("sheets").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
  player.refresh();
  player.follow();
}

/** A run from the first request to the last event, with what the page shows meanwhile. */
async function run(work, timelines) {
  showError(null);
  panel.hide();
  const abort = new AbortController();
  running = { abort, canvas: null, followed: false };
  compose.busy(true);
  drawTools();
  say(WRITING);
  try {
    await work(abort.signal);
    await figuresOfUsedModel();
  } catch (error) {
    if (abort.signal.aborted) say("Stopped.");
    else showError(error);
  }
  if (byId("status").textContent === WRITING) say("");
  running = null;
  for (const timeline of typeof timelines === "function" ? timelines() : timelines) timeline.interrupt();
  compose.busy(false);
  player.refresh();
  report();
}

function report() {
  const { timeline } = active;
  if (timeline.last < 0 || !timeline.finish) return;
  const { tokens, passes } = timeline.figures(timeline.last);
  if (tokens !== null && !byId("status").textContent) say(`${tokens} tokens in ${passes} passes.`);
}

/** Stops the run: the server ends it and tells what is there, or the connection is closed. */
async function stop() {
  if (!running) return;
  const { abort, canvas } = running;
  if (!canvas) return abort.abort();
  try {
    await ask(`/v1/canvas/${encodeURIComponent(canvas)}`, { method: "DELETE" });
  } catch {
    abort.abort();
  }
}

// What the reader does to words

/** Changes cells of a frame. What came after it is dropped: work goes on from here. */
function act(sheet, frame, label, changes) {
  const { timeline } = sheet;
  timeline.hear("cut", { frame });
  timeline.hear("edited", { label, changes: changes.map(([position, change]) => ({ position, ...change })) });
  sheet.select(null);
  player.hold(timeline.last);
  sheet.focus(changes[0][0]);
  say(sentence(label));
}

/** Work on the canvas of the active sheet: its open positions are filled. */
async function runAgain(more) {
  const { timeline, frame } = active;
  const fields = { ...fieldsFor(timeline), canvas: timeline.canvas(frame), alternatives: RECORDED, ...more };
  fields.variations = settings.number("variations");
  active.select(null);
  await runCanvas(fields, () => {
    timeline.hear("cut", { frame });
    return [timeline, ...Array.from({ length: fields.variations - 1 }, () => timeline.branch())];
  });
}

function renoise() {
  const cells = active.timeline.frames[active.frame].cells;
  const positions = active.selected().filter((position) => cells[position].state === "written");
  if (!positions.length) return say("None of these words can be re-noised: they are given or open. Unpin them first.");
  runAgain({ renoise: { positions, strength: Number(byId("strength").value) / 100 } });
}

function pinSelected() {
  const cells = active.timeline.frames[active.frame].cells;
  const written = active.selected().filter((position) => cells[position].state === "written");
  const given = active.selected().filter((position) => cells[position].state === "given");
  if (written.length) act(active, active.frame, "pinned", written.map((position) => [position, pinned]));
  else if (given.length) act(active, active.frame, "unpinned", given.map((position) => [position, unpinned]));
}

async function alternativesOf(timeline, frame, position, count) {
  const response = await ask("/v1/canvas/alternatives", {
    body: { model: settings.model.name, canvas: timeline.canvas(frame), positions: [position], count },
  });
  return (await response.json()).positions[0].alternatives;
}

function drawTools() {
  const idle = running === null && !replay && active !== null && active.frame >= 0;
  const cells = idle ? active.timeline.frames[active.frame].cells : [];
  const chosen = idle ? active.selected() : [];
  const open = cells.filter((cell) => cell.state === "open").length;
  const allGiven = chosen.length > 0 && chosen.every((position) => cells[position].state !== "written");
  byId("selected").textContent = chosen.length
    ? `${chosen.length} ${chosen.length === 1 ? "position" : "positions"} selected.`
    : "Click a word to pin or replace it. Drag over words, or hold Shift with the arrow keys, to select a span.";
  byId("renoise").disabled = !chosen.length;
  byId("pin-selected").disabled = !chosen.length;
  byId("pin-selected").textContent = allGiven ? "Unpin" : "Pin";
  byId("select-all").disabled = !idle;
  byId("settle").hidden = !idle || open === 0;
  byId("settle").textContent = `Settle ${open} open`;
  for (const name of ["text", "trace", "replay", "picture"]) {
    byId(`export-${name}`).disabled = !active || active.timeline.last < 0 || running !== null;
  }
}

function wireTools() {
  byId("strength").addEventListener("input", () => { byId("strength-value").textContent = `${byId("strength").value} %`; });
  byId("renoise").addEventListener("click", renoise);
  byId("pin-selected").addEventListener("click", pinSelected);
  byId("select-all").addEventListener("click", () => { active.selectAll(); active.focus(active.selected()[0]); });
  byId("settle").addEventListener("click", () => runAgain({}));
  const name = () => `aquatint-${active.timeline.seed ?? "sheet"}`;
  byId("export-text").addEventListener("click", () => save(`${name()}.txt`, "text/plain", active.timeline.text(active.frame)));
  byId("export-trace").addEventListener("click", () => save(`${name()}.jsonl`, "application/x-ndjson", traceOf(active.timeline)));
  byId("export-replay").addEventListener("click", () =>
    save(`${name()}.html`, "text/html", replayOf(sheets.map((sheet) => sheet.timeline))));
  byId("export-picture").addEventListener("click", () => save(`${name()}.svg`, "image/svg+xml", pictureOf(active.timeline)));
}

// Theme

const THEMES = ["automatic", "light", "dark"];

function wireTheme() {
  const button = byId("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    bitePlate();
    drawLandscapes();
  };
  const stored = () => (replay ? null : localStorage.getItem("aquatint-theme"));
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    if (!replay) localStorage.setItem("aquatint-theme", next);
    set(next);
  });
  system.addEventListener("change", () => set(document.documentElement.dataset.theme));
  window.addEventListener("resize", () => {
    drawLandscapes();
    for (const sheet of sheets) sheet.measureAgain();
    player.refresh();
  });
  set(stored() ?? "automatic");
}

function drawLandscapes() {
  for (const sheet of sheets) if (!sheet.landscape.hidden) drawLandscape(sheet.landscape);
}

// Beginning

async function loadModels() {
  const { models, auth } = await (await ask("/props")).json();
  byId("key-field").hidden = !auth;
  const chosen = byId("model").value;
  byId("model").replaceChildren(...models.map(({ name }) => make("option", { value: name, textContent: name })));
  if (models.some(({ name }) => name === chosen)) byId("model").value = chosen;
  const adopt = () => {
    settings.adopt(models.find(({ name }) => name === byId("model").value));
    compose.plainConversation = settings.model.chat === false;
    compose.pictures = Boolean(settings.model.media?.some(({ kind }) => kind === "picture"));
    compose.modeChosen();
  };
  byId("model").onchange = adopt;
  adopt();
  byId("go").disabled = false;
}

/** A model that was not in memory has figures now that it was used. */
async function figuresOfUsedModel() {
  if (settings.model.loaded === false) await loadModels();
}

async function connect() {
  showError(null);
  try {
    await loadModels();
  } catch (error) {
    showError(error);
  }
}

function loadReplay() {
  document.documentElement.classList.add("replaying");
  const timelines = JSON.parse(replay.textContent).map(({ model, seed, hiddenPrefix, events }) => {
    const timeline = Object.assign(new Timeline(model, seed), { hiddenPrefix });
    for (const { event, ...data } of events) timeline.hear(event, data);
    return timeline;
  });
  setSheets(timelines);
  player.show(0);
  if (!calm.matches) player.play();
  else player.show(player.length());
}

setSheets([new Timeline(null, null)]);
drawLegend();
wireTools();
wireTheme();
if (narrow.matches) byId("settings").open = false;
byId("key").addEventListener("change", () => {
  apiKey.value = byId("key").value;
  connect();
});
if (replay) loadReplay();
else {
  byId("go").disabled = true;
  player.show(0);
  connect();
}
