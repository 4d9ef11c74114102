// The panel of a word: what it is, and what to do with it.

const ALTERNATIVES = 8;

class WordPanel {
  constructor({ act, alternatives }) {
    this.act = act;
    this.alternatives = alternatives;
    this.element = byId("panel");
    this.sheet = null;
    byId("panel-close").addEventListener("click", () => this.close());
    byId("panel-pin").addEventListener("click", () => this.pin());
    byId("panel-open").addEventListener("click", () => this.openAgain());
    byId("panel-from").addEventListener("click", () => this.selectFrom());
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    document.addEventListener("pointerdown", (event) => {
      if (this.sheet && !this.element.contains(event.target) && positionOf(event.target) === null) this.hide();
    });
  }

  get cell() { return this.sheet.timeline.frames[this.frame].cells[this.position]; }

  /** Opens the panel at a position of the frame that the sheet shows. */
  open(sheet, position, editable) {
    Object.assign(this, { sheet, position, frame: sheet.frame, editable });
    this.word = sheet.wordAt(position);
    const cells = sheet.timeline.frames[this.frame].cells;
    const { cell } = this;
    const text = cell.state === "open" ? "open" : this.word.map((at) => cells[at].text).join("").trim();
    byId("panel-word").textContent = text || "line break";
    const piece = this.word.length > 1 ? ` This piece is “${cell.text.trim()}”.` : "";
    byId("panel-line").textContent = sentence(describeCell(cell)) + piece;
    byId("panel-pin").textContent = cell.state === "given" ? "Unpin" : "Pin";
    byId("panel-pin").disabled = !editable || cell.state === "open";
    byId("panel-open").disabled = !editable || cell.state === "open";
    this.element.hidden = false;
    this.place();
    this.list();
    byId("panel-close").focus({ preventScroll: true });
  }

  /** Beside the word where there is room; on a narrow screen the style puts it at the bottom, and the word moves up. */
  place() {
    const { piece } = this.sheet.slots[this.position];
    const word = piece.getBoundingClientRect();
    const panel = this.element.getBoundingClientRect();
    if (getComputedStyle(this.element).position === "fixed") {
      if (word.bottom > panel.top) piece.scrollIntoView({ block: "start" });
      return;
    }
    const left = Math.min(Math.max(12, word.left - 24), window.innerWidth - panel.width - 12);
    const below = word.bottom + 14;
    const top = below + panel.height < window.innerHeight ? below : Math.max(12, word.top - panel.height - 14);
    this.element.style.setProperty("left", `${left + window.scrollX}px`);
    this.element.style.setProperty("top", `${top + window.scrollY}px`);
  }

  async list() {
    const list = byId("panel-list");
    const { position, frame, sheet } = this;
    const recorded = this.cell.alternatives;
    this.fill(recorded ?? []);
    list.dataset.state = "loading";
    let found = null;
    try {
      found = this.editable ? await this.alternatives(sheet.timeline, frame, position, ALTERNATIVES) : null;
    } catch (error) {
      list.replaceChildren(make("li", { className: "line", textContent: error.message }));
    }
    if (this.sheet !== sheet || this.position !== position || this.frame !== frame) return;
    list.dataset.state = "ready";
    if (found) {
      this.fill(found);
      this.place();
    } else if (!recorded && !list.childElementCount) {
      list.replaceChildren(make("li", { className: "line", textContent: "None were recorded." }));
    }
  }

  fill(alternatives) {
    const likeliest = Math.max(...alternatives.map((one) => one.probability), 0.001);
    byId("panel-list").replaceChildren(...alternatives.map((one) => {
      const word = make("span", { className: "alternative-word", textContent: one.text.trim() || (one.text.includes("\n") ? "¶" : "␣") });
      const bar = make("span", { className: "bar toned", ariaHidden: "true" });
      bar.style.setProperty("--share", one.probability / likeliest);
      const button = make("button", { type: "button", disabled: !this.editable }, word, bar,
        make("span", { className: "figure", textContent: percent(one.probability) }));
      if (one.token === this.cell.token) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.choose(one));
      return make("li", {}, button);
    }));
  }

  choose({ token, text, probability }) {
    this.change(`“${text.trim()}” chosen`, [[this.position,
      { token, text, probability, state: "given", pinned: true, was: this.cell.text }]]);
  }

  pin() {
    const unpin = this.cell.state === "given";
    this.change(unpin ? "unpinned" : "pinned", this.word.map((at) => [at, unpin ? unpinned : pinned]));
  }

  openAgain() {
    const cells = this.sheet.timeline.frames[this.frame].cells;
    this.change("opened again", this.word.map((at) => [at, opened(cells[at])]));
  }

  selectFrom() {
    const { sheet, position } = this;
    this.close();
    sheet.selectsFrom = position;
    sheet.select(position);
    say("Choose the last word of the selection.");
  }

  change(label, changes) {
    const { sheet, frame } = this;
    this.close();
    this.act(sheet, frame, label, changes);
  }

  hide() {
    this.element.hidden = true;
    this.sheet = null;
  }

  close() {
    const { sheet, position } = this;
    this.hide();
    if (sheet) sheet.focus(position);
  }
}

const pinned = { state: "given", pinned: true };
const unpinned = { state: "written", pinned: false };

/** What opens a position again. */
function opened(cell) {
  return { state: "open", pinned: false, was: cell.text, text: "", probability: null, times: cell.times + 1 };
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
