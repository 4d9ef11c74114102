// A timeline: the canvas after each step, over all runs that worked on it.
//
// Frame 0 is the canvas as it was laid out; each step adds a frame, and so does what the reader does to the canvas. A
// cell is never changed, only replaced, so a frame is a list of references and a sheet can compare cells by identity.

class Timeline {
  constructor(model, seed) {
    this.model = model;
    this.seed = seed;
    this.frames = [];
    this.events = [];
    this.spans = undefined;
    this.hiddenPrefix = 0;
    this.finish = null;
    this.active = new Set();
    /** The positions that each part works on, by its number: a text and pictures settle side by side. */
    this.blocks = {};
    /** For each position the frames that wrote it, ascending. */
    this.writes = [];
    /** What each run took: `{ began, seconds, planned, usage }`; times in milliseconds, seconds null while it runs. */
    this.runs = [];
  }

  get last() { return this.frames.length - 1; }
  get current() { return this.frames[this.last]; }
  get running() { return this.runs.length > 0 && this.runs.at(-1).seconds === null; }

  /** A copy that may take another course; frames and cells are shared, since nobody changes them. */
  branch() {
    const copy = Object.assign(new Timeline(this.model, this.seed), this);
    copy.frames = [...this.frames];
    copy.events = [...this.events];
    copy.writes = this.writes.map((frames) => [...frames]);
    copy.runs = this.runs.map((run) => ({ ...run }));
    return copy;
  }

  /** Drops what came after a frame, so that work goes on from there. */
  cutAfter(frame) {
    if (frame >= this.last) return;
    this.finish = null;
    this.frames.length = frame + 1;
    this.writes = this.writes.map((frames) => frames.filter((at) => at <= frame));
  }

  hear(name, data) {
    const event = { event: name, ...data };
    this.events.push(event);
    if (name === "started") this.begin(data);
    else if (name === "block") this.work(data.part ?? 0, data.positions);
    else if (name === "step") this.step(data);
    else if (name === "finished") event.seconds = this.end(data);
    else if (name === "laid-out") this.layOut(data.positions);
    else if (name === "cut") this.cutAfter(data.frame);
    else if (name === "edited") this.edit(data.label, data.changes.map(({ position, ...change }) => [position, change]));
  }

  begin(data) {
    this.runs.push({ began: performance.now(), seconds: null, planned: data.forward_passes ?? 0, usage: null });
    this.finish = null;
    this.seed = data.seed ?? this.seed;
    this.model = data.model ?? this.model;
    this.spans = data.canvas.spans;
    this.active = new Set();
    this.blocks = {};
    const before = this.current?.cells;
    const frame = this.frames.length;
    const cells = data.canvas.positions.map((position, at) => startedCell(position, before?.[at], frame));
    const renoised = before ? cells.filter((cell, at) => cell.state === "open" && before[at].state !== "open").length : 0;
    const label = !before ? "laid out" : renoised ? `${renoised} re-noised` : "settled again";
    const pictures = { ...this.current?.pictures, ...data.pictures };
    this.push(cells, { label, entropy: null, written: 0, takenBack: renoised, passes: 0, pictures });
  }

  work(part, positions) {
    this.blocks[part] = positions;
    this.active = new Set(Object.values(this.blocks).flat());
  }

  /** The span of the picture or sound that a position is of; nothing in a text. */
  mediaAt(position) {
    return this.spans?.find(({ media, start, end }) => media && position >= start && position < end);
  }

  /** A canvas that no run has worked on. */
  layOut(positions) {
    const cells = positions.map((position) => startedCell(position, undefined, 0));
    this.push(cells, { label: "laid out", entropy: null, written: 0, takenBack: 0 });
  }

  step(data) {
    const frame = this.frames.length;
    const cells = [...this.current.cells];
    let { written, takenBack } = this.current;
    for (const change of data.changes) {
      cells[change.position] = changedCell(cells[change.position], change, frame);
      if (change.kind === "committed" || change.kind === "edited") {
        written += change.kind === "committed" ? 1 : 0;
        (this.writes[change.position] ??= []).push(frame);
      } else if (change.kind === "renoised") {
        written -= 1;
        takenBack += 1;
      }
    }
    for (const position of data.closed ?? []) {
      cells[position] = { ...cells[position], state: "closed", kind: "closed", text: "", changedAt: frame };
    }
    for (const [position, text] of Object.entries(data.texts ?? {})) {
      if (cells[position].text !== text) cells[position] = { ...cells[position], text };
    }
    this.push(cells, {
      label: `${this.partName(data)}block ${data.block + 1}, step ${data.step + 1} of ${data.of}`,
      entropy: data.entropy ?? null,
      written,
      takenBack,
      passes: data.forward_passes ?? null,
      pictures: { ...this.current.pictures, ...data.pictures },
    });
  }

  /** What a step worked on, where there is more than text. */
  partName(data) {
    const media = this.mediaAt(data.changes[0]?.position);
    return media ? `${media.media}, ` : "";
  }

  end(data) {
    const run = this.runs.at(-1);
    if (run && run.seconds === null) {
      run.seconds = data.seconds ?? (performance.now() - run.began) / 1000;
      run.usage = data.usage ?? null;
    }
    this.finish = data;
    this.active = new Set();
    return run?.seconds;
  }

  /** The run ended without its last event: it was stopped, or it failed. */
  interrupt() {
    if (this.running) this.hear("finished", { finish_reason: "cancelled" });
  }

  /** What the reader did: new values for some cells, as a frame of its own. */
  edit(label, changes) {
    const frame = this.frames.length;
    const cells = [...this.current.cells];
    for (const [position, change] of changes) {
      cells[position] = { ...cells[position], ...change, changedAt: frame, kind: "edited" };
      if (cells[position].state !== "open") (this.writes[position] ??= []).push(frame);
    }
    this.active = new Set();
    const { written, takenBack } = this.current;
    this.push(cells, { label, entropy: null, written, takenBack });
  }

  push(cells, facts) {
    const open = cells.filter((cell) => cell.state === "open").length;
    const pictures = this.current?.pictures ?? {};
    this.frames.push({ cells, open, active: this.active, run: this.runs.length - 1, pictures, ...facts });
  }

  /** The text that an open position will hold, where that is known already; then lines do not move when it settles. */
  upcomingText(frame, position) {
    const write = this.writes[position]?.find((at) => at > frame);
    return write === undefined ? null : this.frames[write].cells[position].text;
  }

  /** What stands on the sheet at a frame, and what its run took; null where that is not known yet. */
  figures(frame) {
    const { written, takenBack, open, passes, run: number } = this.frames[frame];
    const { seconds, planned, usage } = this.runs[number] ?? { seconds: null, planned: null, usage: null };
    return {
      written,
      takenBack,
      open,
      seconds,
      planned,
      passes: usage?.forward_passes ?? passes ?? null,
      tokens: usage?.completion_tokens ?? null,
      tokensPerPass: usage?.tokens_per_forward ?? null,
      tokensPerSecond: seconds && usage ? usage.completion_tokens / seconds : null,
    };
  }

  text(frame = this.last) {
    const cells = this.frames[frame]?.cells ?? [];
    return cells.slice(this.hiddenPrefix).map((cell) => (cell.state === "open" ? "" : cell.text)).join("");
  }

  /** The canvas of a frame as the server takes it. */
  canvas(frame = this.last) {
    const positions = this.frames[frame].cells.map((cell) =>
      cell.state === "open" || cell.state === "closed" ? { state: cell.state } : { token: cell.token, state: cell.state });
    return this.spans ? { positions, spans: this.spans } : { positions };
  }
}

/** The cell of a position as a run begins; the cell from before where nothing happened to it. */
function startedCell(position, before, frame) {
  const text = position.text ?? "";
  if (!before) {
    return { token: position.token ?? null, text, state: position.state, probability: position.probability ?? null,
      kind: null, changedAt: -1, step: null, was: "", times: 0, pinned: false, alternatives: null };
  }
  if (before.state === position.state && (position.state === "open" || before.token === (position.token ?? null))) {
    return before.text === text || position.text === undefined ? before : { ...before, text };
  }
  if (position.state === "open") {
    return { ...before, state: "open", kind: "renoised", was: before.text, text: "", probability: null,
      changedAt: frame, times: before.times + 1 };
  }
  return { ...before, token: position.token ?? null, text, state: position.state };
}

function changedCell(cell, change, frame) {
  // What the model edits is told apart from what the reader edits.
  const kind = change.kind === "edited" ? "rewritten" : change.kind;
  const common = { ...cell, changedAt: frame, kind };
  if (change.kind === "renoised") {
    return { ...common, state: "open", was: cell.text, text: "", probability: null, times: cell.times + 1 };
  }
  const shown = { ...common, token: change.token, text: change.text ?? cell.text, probability: change.probability ?? null,
    was: cell.text || cell.was, step: frame, alternatives: change.alternatives ?? null };
  const isFinal = change.kind === "committed" || change.kind === "edited";
  return { ...shown, state: isFinal ? "written" : "open" };
}
