// Settings: a slider for each, with a line on what it does. The model's own values are where they begin.

const SETTINGS = [
  { name: "max_tokens", label: "Length", min: 8, step: 8, fallback: 96,
    line: "Positions laid out behind your text. The model may end it earlier." },
  { name: "steps", label: "Steps", min: 1, max: 64, step: 1, fallback: 8,
    line: "Denoising steps for each block. More steps commit fewer words at once." },
  { name: "block_length", label: "Block", min: 1, step: 1, fallback: 8,
    line: "Positions filled together. Large blocks settle anywhere, small ones from left to right." },
  { name: "temperature", label: "Temperature", min: 0, max: 1.5, step: 0.05, fallback: 1,
    line: "0 takes the likeliest word; 1 draws as the model predicts." },
  { name: "guidance_scale", label: "Guidance", min: 1, max: 4, step: 0.1, fallback: 1,
    line: "How strongly your words steer the rest. 1 is neutral; more doubles the passes." },
  { name: "remasking", label: "Revision", min: 0, max: 0.5, step: 0.02, fallback: 0,
    line: "Written words that a step may take back and write anew (remasking)." },
  { name: "top_p", label: "Top-p", min: 0.05, max: 1, step: 0.05, fallback: 1,
    line: "Draws among the likeliest words whose probabilities sum to this." },
  { name: "repetition_penalty", label: "Repetition", min: 1, max: 2, step: 0.05, fallback: 1,
    line: "Makes words less likely that stand on the sheet already. 1 is neutral." },
  { name: "variations", label: "Variations", min: 1, max: 4, step: 1, fallback: 1,
    line: "Sheets side by side, each with a seed of its own." },
];

/** The ranges of the numbers that some policies have behind their name. */
const POLICY_NUMBERS = {
  threshold: { min: 0.05, max: 1, step: 0.05 },
  "entropy-bound": { min: 0.05, max: 4, step: 0.05 },
};

/** What is assumed of a model that the server has not loaded yet. */
const UNKNOWN = { defaults: {}, policies: [{ name: "auto", summary: "the policy that fits the model" }] };

class Settings {
  constructor() {
    this.list = byId("settings-list");
    this.inputs = {};
    this.list.append(...SETTINGS.map((setting) => this.slider(setting)));
    this.list.children[4].after(this.policyField());
    this.list.prepend(this.seedField());
  }

  slider({ name, label, min, max = min, step, line }) {
    const id = `setting-${name}`;
    const input = make("input", { type: "range", id, min, max, step });
    input.setAttribute("aria-describedby", `${id}-line`);
    const output = make("output", { className: "figure" });
    output.htmlFor = id;
    input.addEventListener("input", () => this.print(name));
    this.inputs[name] = { input, output };
    return make("div", { className: "setting" }, make("label", { htmlFor: id, textContent: label }), output, input,
      make("p", { id: `${id}-line`, className: "line", textContent: line }));
  }

  policyField() {
    const select = make("select", { id: "policy" });
    const number = make("input", { type: "number", id: "policy-number", ariaLabel: "Number of the policy" });
    select.setAttribute("aria-describedby", "policy-line");
    select.addEventListener("change", () => this.policyChosen());
    this.policy = { select, number };
    return make("div", { className: "setting" }, make("label", { htmlFor: "policy", textContent: "Policy" }),
      make("span", { className: "row" }, select, number), make("p", { id: "policy-line", className: "line" }));
  }

  seedField() {
    const input = make("input", { type: "number", id: "seed", min: 0, step: 1, value: drawSeed() });
    input.setAttribute("aria-describedby", "seed-line");
    const dice = make("button", { type: "button", id: "dice", className: "quiet", textContent: "Draw" });
    dice.ariaLabel = "Draw another seed";
    dice.addEventListener("click", () => { input.value = drawSeed(); });
    this.seed = input;
    return make("div", { className: "setting" }, make("label", { htmlFor: "seed", textContent: "Seed" }),
      make("span", { className: "row" }, input, dice),
      make("p", { id: "seed-line", className: "line", textContent: "The same seed and settings give the same text." }));
  }

  /** Takes over the values of a model. */
  adopt(model) {
    this.model = { ...UNKNOWN, ...model };
    if (!this.model.policies.length) this.model.policies = UNKNOWN.policies;
    const { defaults, policies } = this.model;
    const length = Math.max(16, Math.min(1024, model.context_length ?? 256));
    this.inputs.max_tokens.input.max = length;
    this.inputs.block_length.input.max = length;
    for (const { name, fallback } of SETTINGS) {
      const value = name === "remasking" ? Number(String(defaults.remasking ?? "none").split(":")[1] ?? 0) : defaults[name];
      this.set(name, value ?? (name === "block_length" ? length : fallback));
    }
    this.policy.select.replaceChildren(...policies.map(({ name }) => {
      const bare = name.split(":")[0];
      return make("option", { value: bare, textContent: bare });
    }));
    const [policy, number] = (defaults.policy ?? "auto").split(":");
    const known = policies.some(({ name }) => name.split(":")[0] === policy);
    this.policy.select.value = known ? policy : policies[0].name;
    this.policyChosen();
    if (number !== undefined) this.policy.number.value = number;
  }

  policyChosen() {
    const { select, number } = this.policy;
    const chosen = this.model.policies.find(({ name }) => name.split(":")[0] === select.value);
    const range = POLICY_NUMBERS[select.value];
    number.hidden = !range;
    if (range) Object.assign(number, { ...range, value: chosen.name.split(":")[1] });
    byId("policy-line").textContent = sentence(chosen.summary);
  }

  set(name, value) {
    this.inputs[name].input.value = value;
    this.print(name);
  }

  number(name) { return Number(this.inputs[name].input.value); }

  print(name) {
    const { input, output } = this.inputs[name];
    const whole = name === "block_length" && Number(input.value) >= Number(input.max);
    const none = name === "remasking" && Number(input.value) === 0;
    output.textContent = whole ? "all" : none ? "none" : String(Number(Number(input.value).toFixed(2)));
  }

  /** The fields of a request: seed and model, and whatever is not as the model has it. */
  fields() {
    const { defaults } = this.model;
    const chosen = {
      steps: this.number("steps"),
      block_length: this.number("block_length"),
      temperature: this.number("temperature"),
      top_p: this.number("top_p"),
      repetition_penalty: this.number("repetition_penalty"),
      guidance_scale: this.number("guidance_scale"),
      remasking: this.number("remasking") > 0 ? `rescale:${this.number("remasking")}` : "none",
      policy: this.policyName(),
    };
    const own = { top_p: 1, block_length: Number(this.inputs.block_length.input.max), remasking: "none", policy: "auto" };
    const changed = Object.entries(chosen).filter(([name, value]) => value !== (defaults[name] ?? own[name] ?? null));
    return { model: this.model.name, seed: Number(this.seed.value), ...Object.fromEntries(changed) };
  }

  policyName() {
    const { select, number } = this.policy;
    return POLICY_NUMBERS[select.value] ? `${select.value}:${number.value}` : select.value;
  }
}

function drawSeed() {
  return crypto.getRandomValues(new Uint16Array(1))[0];
}
