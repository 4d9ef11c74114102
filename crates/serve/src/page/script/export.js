// Take away: the text, the trace, a replay that needs no server, and a moving picture for a README.

function save(name, type, text) {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** All events of a timeline, a JSON object a line. */
function traceOf(timeline) {
  return timeline.events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/** This page with events in place of a server. */
function replayOf(timelines) {
  const data = timelines.map(({ model, seed, hiddenPrefix, events }) => ({ model, seed, hiddenPrefix, events }));
  // An end tag within the data would end the element that holds it.
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return `<!DOCTYPE html>
<html lang="en" class="replaying">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Aquatint, a replay</title>
<style id="style">${byId("style").textContent}</style>
<script type="application/json" id="replay">${json}<\/script>
<script type="module" id="script">${byId("script").textContent}<\/script>
</head>
<body>${pageMarkup}</body>
</html>
`;
}

// A picture on the sheet is as high as four lines.
const PICTURE = { width: 760, margin: 36, size: 20, line: 36, rows: 4, lead: 1, perStep: 0.16, hold: 4 };
const PICTURE_FONT = `${PICTURE.size}px 'Iowan Old Style', 'Palatino Linotype', Palatino, P052, Georgia, serif`;

/** The last frame set in lines: for each position where it stands and how wide it is, in pixels. A picture is a block of its own,
 *  and stands with a sound at the first of its positions. */
function setInLines(timeline) {
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = PICTURE_FONT;
  const measure = (text) => ruler.measureText(text).width;
  const right = PICTURE.width - PICTURE.margin;
  let x = PICTURE.margin;
  let line = 0;
  let lines = 1;
  const newLine = () => { line += 1; x = PICTURE.margin; };
  const places = timeline.current.cells.map((cell, position) => {
    const span = timeline.mediaAt(position);
    if (position < timeline.hiddenPrefix || cell.state === "closed" || (span && span.start !== position)) return null;
    if (span?.media === "picture") {
      if (x > PICTURE.margin) newLine();
      const place = { x, line, width: PICTURE.rows * PICTURE.line, media: "picture" };
      line += PICTURE.rows;
      lines = line;
      return place;
    }
    const text = cell.state === "open" ? " nnnn" : span ? " ♪ " : cell.text;
    const [, before, core, after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    for (const character of before) character === "\n" ? newLine() : (x += x > PICTURE.margin ? measure(" ") : 0);
    const width = measure(core);
    if (x + width > right) newLine();
    const place = { x, line, width, media: span?.media };
    x += width;
    lines = Math.max(lines, line + 1);
    for (const character of after) character === "\n" ? newLine() : (x += measure(" "));
    return place;
  });
  return { places, lines };
}

/** What is shown over time: `{ from, to, shown }`, in frames; `to` is null for what stays. */
function stretches(timeline, shownIn, same) {
  const found = [];
  timeline.frames.forEach((frame, number) => {
    const shown = shownIn(frame);
    const before = found.at(-1);
    if (before && same(before.shown, shown)) return;
    if (before) before.to = number;
    found.push({ from: number, to: null, shown });
  });
  return found;
}

/** What a position shows over time: its picture, or its cell. */
function shownAt(timeline, position, media) {
  if (media === "picture") return stretches(timeline, ({ pictures }) => pictures[position] ?? null, Object.is);
  const cellIn = ({ cells }) => (media ? { ...cells[position], text: "♪" } : cells[position]);
  const found = stretches(timeline, cellIn, (one, other) => one.state === other.state && one.text === other.text);
  return found.filter(({ shown }) => shown.state !== "closed");
}

/** The timeline as an SVG that plays by itself, and stands still where motion is not wanted. */
function pictureOf(timeline) {
  const { places, lines } = setInLines(timeline);
  const total = PICTURE.lead + timeline.last * PICTURE.perStep + PICTURE.hold;
  const share = (frame) => (frame === 0 ? 0 : ((PICTURE.lead + (frame - 1) * PICTURE.perStep) / total) * 100);
  const intervals = new Map();
  const shapes = places.flatMap((place, position) => {
    if (!place) return [];
    return shownAt(timeline, position, place.media).map(({ from, to, shown }) => {
      const name = `f${from}-${to ?? "end"}`;
      const always = from === 0 && to === null;
      if (!always) intervals.set(name, { from, to });
      const shape = place.media === "picture" ? blockOf : shapeOf;
      return shape(place, shown, `${always ? "" : `${name} `}${to === null ? "stays" : "goes"}`);
    });
  });
  const rules = [...intervals].map(([name, { from, to }]) => {
    const on = share(from).toFixed(2);
    const stops = [from > 0 ? `0%{opacity:0}${on}%{opacity:1}` : "0%{opacity:1}", to === null ? "" : `${share(to).toFixed(2)}%{opacity:0}`];
    return `@keyframes ${name}{${stops.join("")}${to === null ? "100%{opacity:1}" : "100%{opacity:0}"}}` +
      `.${name}{animation:${name} ${total.toFixed(2)}s step-end infinite}`;
  });
  const height = PICTURE.margin * 2 + lines * PICTURE.line;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${PICTURE.width} ${height}" role="img" aria-label="${escaped(timeline.text().trim().replace(/\s+/g, " "))}">
<style>
.plate{fill:#f1e9d8;stroke:#b9ab8e}.grain circle{fill:#1c1815}text{font:${PICTURE_FONT};fill:#1c1815;white-space:pre}
.given{font-style:italic}${LETTER_TONES.map((_, level) => `.t${level}{fill:color-mix(in srgb,#1c1815 ${level * 20}%,#6a5f52)}`).join("")}
.goes{opacity:0}
@media (prefers-color-scheme:dark){.plate{fill:#221c18;stroke:#57493c}.grain circle{fill:#efe4d2}text{fill:#f4ead9}
${LETTER_TONES.map((_, level) => `.t${level}{fill:color-mix(in srgb,#f4ead9 ${level * 20}%,#a3937f)}`).join("")}}
@media (prefers-reduced-motion:no-preference){${rules.join("\n")}}
<\/style>
<defs><pattern id="grain" class="grain" width="40" height="40" patternUnits="userSpaceOnUse">${stipple(40, 150)}</pattern></defs>
<rect class="plate" x="0.5" y="0.5" width="${PICTURE.width - 1}" height="${height - 1}" rx="3"/>
${shapes.join("\n")}
</svg>
`;
}

/** A picture as far as it is known, or the grain where nothing is. */
function blockOf({ x, line, width }, url, motion) {
  const box = `class="${motion}" x="${x}" y="${PICTURE.margin + line * PICTURE.line}" width="${width}" height="${width}"`;
  return url === null ? `<rect ${box} rx="2" fill="url(#grain)"/>` : `<image ${box} href="${escaped(url)}"/>`;
}

function shapeOf({ x, line, width }, cell, motion) {
  const base = PICTURE.margin + line * PICTURE.line + PICTURE.line * 0.68;
  if (cell.state === "open") {
    return `<rect class="${motion}" x="${x.toFixed(1)}" y="${(base - 14).toFixed(1)}" width="${Math.max(4, width).toFixed(1)}" height="17" rx="2" fill="url(#grain)"/>`;
  }
  const core = cell.text.trim();
  if (!core) return "";
  const kind = cell.state === "given" ? "given" : `t${toneLevel(cell.probability)}`;
  return `<text class="${kind} ${motion}" x="${x.toFixed(1)}" y="${base.toFixed(1)}" textLength="${Math.max(4, width).toFixed(1)}" lengthAdjust="spacingAndGlyphs">${escaped(core)}</text>`;
}

/** Dots that keep their distance, as the specks of a grain do: each is the candidate farthest from those before it. */
function stipple(size, count) {
  const random = randomNumbers(1768);
  const dots = [];
  const apart = (one, other) => {
    const gap = (a, b) => Math.min(Math.abs(a - b), size - Math.abs(a - b));
    return Math.hypot(gap(one.x, other.x), gap(one.y, other.y));
  };
  for (let dot = 0; dot < count; dot++) {
    const candidates = Array.from({ length: 6 }, () => ({ x: random() * size, y: random() * size }));
    const distance = (candidate) => Math.min(...dots.map((other) => apart(candidate, other)), size);
    dots.push(candidates.reduce((best, one) => (distance(one) > distance(best) ? one : best)));
  }
  return dots.map(({ x, y }) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${(0.6 + random() * 0.5).toFixed(2)}"/>`).join("");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
