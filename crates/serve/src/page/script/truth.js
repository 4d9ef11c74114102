// Beside the sheet: what the text took, and how sure the model was.

/** The figures of a frame and of its run; a dash for what is not known yet. */
function drawFigures(timeline, frame) {
  const { passes, planned, written, takenBack, open, seconds, tokensPerPass, tokensPerSecond } =
    timeline.frames[frame] ? timeline.figures(frame) : {};
  const known = (value, print = String) => (value === null || value === undefined ? "–" : print(value));
  const rows = [
    ["Passes", seconds === null && planned ? `${known(passes)} of at most ${planned}` : known(passes)],
    ["Tokens per pass", known(tokensPerPass, (value) => value.toFixed(2))],
    ["Time", known(seconds, (value) => `${value.toFixed(2)} s`)],
    ["Tokens per second", known(tokensPerSecond, (value) => `${Math.round(value)}`)],
    ["Written", known(written)],
    ["Still open", known(open)],
    ["Taken back", known(takenBack)],
  ];
  byId("figures").replaceChildren(...rows.map(([name, value]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", { className: "figure", textContent: value }))));
}

const PLOT = { width: 240, height: 96, top: 6 };

/** The mean entropy of the predictions over the steps, with the same in words. */
function drawPlot(timeline, frame) {
  const points = timeline.frames.flatMap(({ entropy }, at) => (entropy === null ? [] : [{ at, entropy }]));
  const plot = byId("plot");
  if (points.length < 2) {
    plot.replaceChildren();
    byId("plot-line").textContent = "Mean entropy of the predictions for open positions, in nats, over the steps.";
    return;
  }
  const top = Math.max(...points.map((point) => point.entropy), 0.5);
  const x = (at) => (at / Math.max(1, timeline.last)) * PLOT.width;
  const y = (entropy) => PLOT.height - (entropy / top) * (PLOT.height - PLOT.top);
  const line = points.map((point) => `${x(point.at).toFixed(1)},${y(point.entropy).toFixed(1)}`);
  const area = make("div", { className: "area toned" });
  const corners = [[x(points[0].at), PLOT.height], ...points.map((point) => [x(point.at), y(point.entropy)]),
    [x(points.at(-1).at), PLOT.height]];
  area.style.setProperty("clip-path",
    `polygon(${corners.map(([px, py]) => `${(px / PLOT.width) * 100}% ${(py / PLOT.height) * 100}%`).join(",")})`);
  const drawing = vector("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, preserveAspectRatio: "none", role: "img" },
    vector("polyline", { points: line.join(" "), class: "curve" }),
    vector("line", { x1: x(frame), x2: x(frame), y1: 0, y2: PLOT.height, class: "now" }));
  const here = points.filter((point) => point.at <= frame).at(-1) ?? points[0];
  const said = `${points[0].entropy.toFixed(2)} nats at first, ${here.entropy.toFixed(2)} at step ${here.at}, at most ${top.toFixed(2)}.`;
  drawing.setAttribute("aria-label", `Entropy over ${timeline.last} steps: ${said}`);
  plot.replaceChildren(area, drawing);
  byId("plot-line").textContent = said;
}

function vector(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/** How the marks look, each with its meaning. */
function drawLegend() {
  const ink = make("span", { className: "scale" },
    ...LETTER_TONES.map((_, level) => make("span", { className: `piece tone-${level}`, textContent: "likely"[level] })));
  const open = make("span", { className: "piece open", ariaHidden: "true" });
  const revised = make("span", { className: "piece tone-5 revised", textContent: "cat" });
  revised.dataset.was = "dog";
  const renoised = make("span", { className: "piece open renoised", ariaHidden: "true" });
  renoised.dataset.was = "dog";
  const rows = [
    [ink, "unsure to sure"],
    [open, "open"],
    [make("span", { className: "piece tone-5 fresh", textContent: "cat" }), "just written"],
    [renoised, "taken back"],
    [revised, "revised"],
    [make("span", { className: "piece tone-5 reworked", textContent: "cat" }), "written again"],
    [make("span", { className: "piece given", textContent: "cat" }), "given"],
    [make("span", { className: "piece given pinned", textContent: "cat" }), "pinned"],
  ];
  byId("legend").replaceChildren(...rows.map(([sample, meaning]) =>
    make("li", {}, make("span", { className: "sample" }, sample), make("span", { textContent: meaning }))));
}
