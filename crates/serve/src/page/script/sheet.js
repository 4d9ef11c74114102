// A sheet: one timeline on paper. It draws the frame that it is given and reports what the reader does to its words.

/** Steps for which a change stays marked. */
const MARKED_STEPS = 3;

class Sheet {
  constructor(timeline, { picked, selectionChanged, activated }) {
    this.timeline = timeline;
    this.picked = picked;
    this.selectionChanged = selectionChanged;
    this.frame = -1;
    this.slots = [];
    this.drawn = [];
    this.focused = 0;
    this.selection = null;
    this.ruler = document.createElement("canvas").getContext("2d");
    this.build(activated);
  }

  build(activated) {
    this.landscape = make("canvas", { className: "landscape", ariaHidden: "true" });
    this.words = make("div", { className: "words", role: "listbox", hidden: true, ariaLabel: "Canvas of words" });
    this.words.setAttribute("aria-multiselectable", "true");
    this.edition = make("span", { className: "edition" });
    this.title = make("span", { className: "title" });
    this.signature = make("span", { className: "signature" });
    const pencil = make("figcaption", { className: "pencil" }, this.edition, this.title, this.signature);
    this.element = make("figure", { className: "sheet" },
      make("div", { className: "plate" }, this.landscape, this.words), pencil);
    this.element.addEventListener("pointerdown", activated);
    this.element.addEventListener("focusin", activated);
    this.listenToPointer();
    this.words.addEventListener("keydown", (event) => this.key(event));
  }

  // Drawing

  show(frame) {
    const { timeline } = this;
    const bounded = Math.min(frame, timeline.last);
    if (bounded < 0) return;
    this.frame = bounded;
    const { cells, active } = timeline.frames[bounded];
    const settled = bounded === timeline.last && timeline.finish !== null;
    this.words.hidden = false;
    this.landscape.hidden = true;
    if (!this.widths) this.measureAgain();
    while (this.slots.length < cells.length) this.addSlot();
    while (this.slots.length > cells.length) this.slots.pop().element.remove();
    cells.forEach((cell, position) => this.drawCell(cell, position, bounded, active.has(position), settled));
    this.keepFocusVisible();
    this.caption(bounded);
  }

  addSlot() {
    const position = this.slots.length;
    const piece = make("span", { role: "option", tabIndex: position === this.focused ? 0 : -1 });
    piece.dataset.position = position;
    piece.setAttribute("aria-selected", "false");
    piece.style.setProperty("--shift", `${(position * 37) % 80}px`);
    const element = make("span", { className: "slot", role: "presentation" }, piece);
    this.words.append(element);
    this.slots.push({ element, piece });
    this.drawn.push({});
  }

  /** Draws a position if anything about it is another than drawn. */
  drawCell(cell, position, frame, active, settled) {
    const { timeline } = this;
    const media = timeline.mediaAt(position);
    if (media) return this.drawMedia(media, position, timeline.frames[frame]);
    const age = cell.changedAt >= 0 && !settled ? frame - cell.changedAt : MARKED_STEPS;
    const coming = cell.state === "open" ? timeline.upcomingText(frame, position) : null;
    const wanted = { cell, coming, active, age: age < MARKED_STEPS ? age : null, hidden: position < timeline.hiddenPrefix };
    const drawn = this.drawn[position];
    if (Object.keys(wanted).every((key) => wanted[key] === drawn[key])) return;
    this.drawn[position] = wanted;
    const { element, piece } = this.slots[position];
    const shown = wanted.hidden || cell.state === "closed" ? null : cell.state === "open" ? (coming ?? " nnnnn") : cell.text;
    element.hidden = shown === null;
    piece.dataset.state = cell.state;
    if (shown === null) return;
    const [, before, core, after] = /^(\s*)(.*?)(\s*)$/s.exec(shown);
    // What marks a line break stands at the end of its line.
    element.replaceChildren(...(core ? [...blanks(before), piece, ...blanks(after)] : [piece, ...blanks(before)]));
    this.drawPiece(piece, wanted, core, before);
  }

  /** Draws a picture or a sound at the first of its positions, as far as it is known; its other positions have no place. */
  drawMedia({ media, start, end }, position, { cells, pictures }) {
    const codes = cells.slice(start, end);
    const open = codes.filter(({ state }) => state === "open").length;
    const wanted = { media, open, hidden: position !== start, url: pictures[start] ?? null, state: cells[position].state };
    const drawn = this.drawn[position];
    if (Object.keys(wanted).every((key) => wanted[key] === drawn[key])) return;
    this.drawn[position] = wanted;
    const { element, piece } = this.slots[position];
    element.hidden = wanted.hidden;
    piece.dataset.state = cells[position].state;
    if (wanted.hidden) return;
    element.replaceChildren(piece);
    delete piece.dataset.age;
    piece.className = `piece ${media}${open ? " open active" : ""}`;
    piece.ariaLabel = open ? `${media}, ${codes.length - open} of ${codes.length} codes are there` : media;
    if (media !== "picture") piece.textContent = "♪";
    else if (wanted.url) {
      // The element stays, so that one picture follows the other without a flash.
      const image = piece.querySelector("img") ?? make("img", { alt: "" });
      image.src = wanted.url;
      piece.replaceChildren(image);
    } else piece.replaceChildren();
  }

  drawPiece(piece, { cell, coming, active, age }, core, before) {
    if (age === null) delete piece.dataset.age;
    else piece.dataset.age = age;
    if (cell.state === "open") {
      piece.className = `piece open${active ? " active" : ""}${cell.text ? " draft" : ""}`;
      piece.textContent = cell.text.trim();
      piece.ariaLabel = cell.text ? `open, now ${cell.text.trim()}` : "open";
      piece.style.setProperty("--width", `${this.widthOf(coming === null ? "nnnnn" : core)}px`);
    } else {
      const blank = core ? "" : before.includes("\n") ? "¶" : before ? "␣" : "·";
      const tone = blank ? "blank" : cell.state === "given" ? "" : `tone-${toneLevel(cell.probability)}`;
      piece.className = `piece ${cell.state} ${tone}`;
      piece.textContent = core || blank;
      piece.ariaLabel = core ? null : { "¶": "line break", "␣": "blank", "·": "nothing" }[blank];
      piece.style.removeProperty("--width");
    }
    piece.classList.toggle("pinned", cell.pinned);
    piece.classList.toggle("reworked", cell.times > 0 && cell.state === "written");
    const was = cell.was.trim();
    const replaced = age !== null && was !== "" && was !== cell.text.trim();
    piece.classList.toggle("fresh", age !== null && cell.kind === "committed");
    piece.classList.toggle("revised", replaced && cell.kind !== "edited" && cell.kind !== "renoised");
    piece.classList.toggle("renoised", age !== null && cell.kind === "renoised");
    if (replaced && cell.kind !== "edited") piece.dataset.was = was;
    else delete piece.dataset.was;
  }

  /** How wide a word is on this sheet, in pixels. */
  widthOf(word) {
    if (!this.widths.has(word)) this.widths.set(word, Math.max(6, Math.round(this.ruler.measureText(word).width)));
    return this.widths.get(word);
  }

  /** Takes the font for measuring; the window's width decides its size. */
  measureAgain() {
    const { fontWeight, fontSize, fontFamily } = getComputedStyle(this.words);
    this.ruler.font = `${fontWeight} ${fontSize} ${fontFamily}`;
    this.widths = new Map();
    this.drawn.fill({});
  }

  caption(frame) {
    const { timeline } = this;
    this.edition.textContent = `${frame}/${timeline.last}`;
    const given = (timeline.text(0).trim() || timeline.text(frame).trim()).split(/\s+/).slice(0, 5).join(" ").replace(/[.,;:]$/, "");
    this.title.textContent = given ? `“${given}”` : "untitled";
    this.signature.textContent = [timeline.model, timeline.seed === null ? null : `seed ${timeline.seed}`].filter(Boolean).join(", ");
    this.words.ariaLabel = `Canvas of words, seed ${timeline.seed ?? "none"}`;
  }

  // Pointer: a click picks a word, a drag or Shift and a click selects a span.

  listenToPointer() {
    let anchor = null;
    this.words.addEventListener("pointerdown", (event) => {
      const position = positionOf(event.target);
      if (position === null || event.button !== 0) return;
      if (event.shiftKey) {
        event.preventDefault();
        this.select(this.selection?.anchor ?? this.focused, position);
        this.focus(position);
      } else if (event.pointerType === "mouse") {
        anchor = position;
        // The browser's own selection of text would cover ours.
        event.preventDefault();
      }
    });
    this.words.addEventListener("pointermove", (event) => {
      if (anchor === null) return;
      const position = positionOf(event.target);
      if (position !== null && (position !== anchor || this.selection)) this.select(anchor, position);
    });
    window.addEventListener("pointerup", () => { setTimeout(() => { anchor = null; }); });
    this.words.addEventListener("click", (event) => {
      const position = positionOf(event.target);
      if (position === null || event.shiftKey) return;
      const dragged = anchor !== null && this.selection !== null && this.selection.anchor === anchor &&
        this.selection.end !== anchor;
      if (dragged) return;
      this.focus(position);
      if (this.selectsFrom !== undefined) {
        this.select(this.selectsFrom, position);
        delete this.selectsFrom;
      } else {
        this.select(null);
        this.picked(position);
      }
    });
  }

  // Keyboard: arrows move, Shift and arrows select, Enter picks.

  key(event) {
    const moves = {
      ArrowLeft: () => this.neighbour(-1),
      ArrowRight: () => this.neighbour(1),
      ArrowUp: () => this.lineAway(-1),
      ArrowDown: () => this.lineAway(1),
      Home: () => this.visible()[0],
      End: () => this.visible().at(-1),
    };
    if (moves[event.key]) {
      const position = moves[event.key]();
      if (position !== undefined) {
        if (event.shiftKey) this.select(this.selection?.anchor ?? this.focused, position);
        else if (this.selection) this.select(null);
        this.focus(position);
      }
    } else if (event.key === "Enter" || event.key === " ") {
      this.picked(this.focused);
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      this.selectAll();
    } else if (event.key === "Escape" && this.selection) {
      this.select(null);
    } else {
      return;
    }
    event.preventDefault();
  }

  visible() {
    return this.slots.flatMap((slot, position) => (slot.element.hidden ? [] : [position]));
  }

  neighbour(direction) {
    const visible = this.visible();
    return visible[visible.indexOf(this.focused) + direction];
  }

  /** The word nearest above or below the focused one. */
  lineAway(direction) {
    const middle = (position) => {
      const box = this.slots[position].piece.getClientRects()[0];
      return box ? { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2, height: box.height } : null;
    };
    const from = middle(this.focused);
    let best;
    let bestDistance = Infinity;
    for (const position of this.visible()) {
      const to = middle(position);
      const down = to ? (to.y - from.y) * direction : 0;
      if (down < from.height / 2) continue;
      const distance = down * 8 + Math.abs(to.x - from.x);
      if (distance < bestDistance) [best, bestDistance] = [position, distance];
    }
    return best;
  }

  focus(position) {
    this.slots[this.focused]?.piece.setAttribute("tabindex", "-1");
    this.focused = position;
    const { piece } = this.slots[position];
    piece.setAttribute("tabindex", "0");
    piece.setAttribute("aria-description", describeCell(this.timeline.frames[this.frame].cells[position]));
    piece.focus({ preventScroll: false });
  }

  /** A word that fell away cannot be where Tab leads. */
  keepFocusVisible() {
    if (this.slots[this.focused] && !this.slots[this.focused].element.hidden) return;
    this.slots[this.focused]?.piece.setAttribute("tabindex", "-1");
    this.focused = this.visible()[0] ?? 0;
    this.slots[this.focused]?.piece.setAttribute("tabindex", "0");
  }

  // Selection

  select(anchor, end = anchor) {
    this.selection = anchor === null ? null : { anchor, end };
    const chosen = new Set(this.selected());
    this.slots.forEach(({ piece }, position) => piece.setAttribute("aria-selected", String(chosen.has(position))));
    this.selectionChanged();
  }

  selectAll() {
    const visible = this.visible();
    if (visible.length) this.select(visible[0], visible.at(-1));
  }

  selected() {
    if (!this.selection) return [];
    const { anchor, end } = this.selection;
    const [first, last] = [Math.min(anchor, end), Math.max(anchor, end)];
    const chosen = this.visible().filter((position) => position >= first && position <= last);
    // A picture is chosen with all of its codes.
    return chosen.flatMap((position) => {
      const { start, end } = this.timeline.mediaAt(position) ?? { start: position, end: position + 1 };
      return Array.from({ length: end - start }, (_, at) => start + at);
    });
  }

  /** The positions of the word that a position is part of: pieces with letters on both sides of each border. */
  wordAt(position) {
    const { cells } = this.timeline.frames[this.frame];
    const joined = (left, right) =>
      left >= 0 && right < cells.length && ["given", "written"].includes(cells[left].state) &&
      ["given", "written"].includes(cells[right].state) && /[\p{L}\p{N}]$/u.test(cells[left].text) &&
      /^[\p{L}\p{N}]/u.test(cells[right].text);
    let first = position;
    let last = position;
    while (joined(first - 1, first)) first -= 1;
    while (joined(last, last + 1)) last += 1;
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  }
}

/** White space as nodes: blanks stay blanks, a line break breaks, and more of them leave a little room between. */
function blanks(text) {
  const breaks = text.split("\n").length - 1;
  if (breaks === 0) return [document.createTextNode(text)];
  if (breaks === 1) return [make("br", {})];
  return Array.from({ length: breaks - 1 }, () => make("span", { className: "leading" }));
}

function positionOf(target) {
  const piece = target.closest?.("[data-position]");
  return piece ? Number(piece.dataset.position) : null;
}

/** What a cell is, in words. */
function describeCell(cell) {
  if (cell.state === "open") return cell.kind === "renoised" && cell.was ? `open again; it was “${cell.was.trim()}”` : "open";
  if (cell.pinned) return "pinned; it does not change";
  if (cell.state === "given") return "given; it does not change";
  const sure = cell.probability === null ? "written" : `written with ${percent(cell.probability)}`;
  const step = cell.step === null ? "" : ` at step ${cell.step}`;
  const times = cell.times ? `, opened again ${cell.times === 1 ? "once" : `${cell.times} times`}` : "";
  return sure + step + times;
}

function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  return `${Math.round(share * 100)} %`;
}

/** An element with its properties and children. */
function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (property === "role") element.setAttribute("role", value);
    else element[property] = value;
  }
  element.append(...children);
  return element;
}
