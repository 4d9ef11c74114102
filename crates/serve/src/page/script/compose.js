// What to write: four modes over one field of text.

const MODES = {
  continue: {
    label: "Begin with", go: "Continue", text: "Once upon a time",
    line: "The model goes on where you stop.",
  },
  fill: {
    label: "Text with gaps", go: "Fill", text: "The [[3]] sat on the [[~8]], and nobody [[2]] it.",
    line: "[[3]] is a gap of three tokens, [[~8]] one of at most eight.",
  },
  edit: {
    label: "Text to rework", go: "Lay out",
    text: "The king had three daughters, and the youngest was so beautiful that the sun himself wondered.",
    line: "Laid out as it is. Select words on the sheet and re-noise them.",
  },
  chat: {
    label: "Your message", go: "Send", text: "",
    line: "The answer settles on the sheet.",
  },
};

const PLAIN_CONVERSATION = "This model has learned no conversations. It continues yours as a plain text.";

class Compose {
  constructor({ start, stop }) {
    this.texts = Object.fromEntries(Object.entries(MODES).map(([mode, { text }]) => [mode, text]));
    this.messages = [];
    this.field = byId("text");
    this.form = byId("compose");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      start(this.mode, this.field.value);
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    for (const radio of this.form.elements.mode) radio.addEventListener("change", () => this.modeChosen());
    byId("stop").addEventListener("click", stop);
    byId("gap").addEventListener("click", () => this.insertGap());
    byId("make-picture").addEventListener("click", () => this.insert("[[picture]]"));
    byId("give-picture").addEventListener("change", (event) => this.givePicture(event.target));
    byId("forget").addEventListener("click", () => this.forget());
    this.shownMode = null;
    /** Whether the model has no template for conversations. */
    this.plainConversation = false;
    /** Whether the model has pictures. */
    this.pictures = false;
    /** The pictures that the reader gave, as URLs that hold them, by the names that templates have for them. */
    this.files = {};
    this.modeChosen();
  }

  get mode() { return this.form.elements.mode.value; }

  modeChosen() {
    if (this.shownMode) this.texts[this.shownMode] = this.field.value;
    this.shownMode = this.mode;
    const { label, line, go } = MODES[this.mode];
    byId("text-label").textContent = label;
    byId("text-line").textContent = this.mode === "chat" && this.plainConversation ? PLAIN_CONVERSATION : line;
    byId("go").textContent = go;
    this.field.value = this.texts[this.mode];
    byId("gaps").hidden = this.mode !== "fill";
    byId("pictures").hidden = this.mode !== "fill" || !this.pictures;
    byId("conversation").hidden = this.mode !== "chat" || !this.messages.length;
    byId("forget").hidden = byId("conversation").hidden;
  }

  insertGap() {
    const length = Math.max(1, Math.round(Number(byId("gap-length").value) || 1));
    const about = byId("gap-about").checked ? "~" : "";
    this.insert(`[[${about}${length}]]`);
  }

  insert(hole) {
    this.field.setRangeText(hole, this.field.selectionStart, this.field.selectionEnd, "end");
    this.field.focus();
  }

  /** Takes a picture of the reader's and names it in the text. */
  async givePicture(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      const url = await smallPicture(file);
      const name = file.name.replace(/[[\],=:]/g, " ").trim() || "picture";
      this.files[name] = url;
      this.insert(`[[picture:${name}]]`);
    } catch {
      showError(new Error(`${file.name} is no picture that this browser can read`));
    }
  }

  /** The given pictures that a template names; none where it names none. */
  filesOf(template) {
    const named = Object.entries(this.files).filter(([name]) =>
      [`[[picture:${name}]]`, `[[picture:${name},`].some((hole) => template.includes(hole)));
    return named.length ? Object.fromEntries(named) : null;
  }

  /** One button takes the place of the other, and the focus that it had. */
  busy(running) {
    const [shown, gone] = running ? [byId("stop"), byId("go")] : [byId("go"), byId("stop")];
    const focused = document.activeElement === gone;
    gone.hidden = true;
    shown.hidden = false;
    if (focused) shown.focus({ preventScroll: true });
  }

  // Conversation

  /** Adds what the reader says and returns the whole conversation. */
  ask(content) {
    this.messages.push({ role: "user", content });
    this.field.value = "";
    this.printConversation();
    return this.messages.map((message) => ({ ...message }));
  }

  answer(content) {
    const answer = content.trim();
    if (this.messages.at(-1)?.role === "assistant") this.messages.at(-1).content = answer;
    else this.messages.push({ role: "assistant", content: answer });
    this.printConversation();
  }

  /** The message did not get an answer: it goes back to where it was written. */
  takeBack() {
    if (this.messages.at(-1)?.role !== "user") return;
    this.field.value = this.messages.pop().content;
    this.printConversation();
  }

  forget() {
    this.messages = [];
    this.printConversation();
    this.field.focus();
  }

  printConversation() {
    byId("conversation").replaceChildren(...this.messages.map(({ role, content }) =>
      make("li", { className: role }, make("span", { className: "speaker", textContent: role === "user" ? "You" : "Model" }),
        make("span", { textContent: content }))));
    byId("conversation").hidden = this.mode !== "chat" || !this.messages.length;
    byId("forget").hidden = byId("conversation").hidden;
  }
}

/** The longest side of a picture that is sent, in pixels: more than any model sees of it. */
const LONGEST_SIDE = 256;

/** A picture as a URL that holds it, no larger than it has to be. */
async function smallPicture(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  return canvas.toDataURL("image/png");
}
