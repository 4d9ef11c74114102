// Grain: tone as an aquatint plate makes it, by the density of specks.
//
// One map of thresholds serves all tones: a pixel is inked at every tone above its threshold. The thresholds are the
// ranks of noise without its low frequencies, so that each tone covers exactly its share of the plate and has no
// clouds.

const GRAIN_SIZE = 160;
/** Shares of dark specks in a letter, from an unsure word to a sure one. */
const LETTER_TONES = [0.05, 0.22, 0.42, 0.62, 0.82, 1];
/** Shares of specks of open positions: waiting, and in the block that is being filled. */
const OPEN_TONES = { waiting: 0.2, active: 0.46 };

/** A generator of numbers in [0, 1); the same grain every time. */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Smooths values on a torus, so that tiles have no seams; the kernel 1 2 1 has no preferred direction when repeated. */
function smooth(values, size, times) {
  const pass = (source, along) => source.map((value, pixel) => {
    const at = Math.floor(pixel / along) % size;
    const start = pixel - at * along;
    const before = source[start + ((at + size - 1) % size) * along];
    const after = source[start + ((at + 1) % size) * along];
    return (before + 2 * value + after) / 4;
  });
  let result = values;
  for (let time = 0; time < times; time++) result = pass(pass(result, 1), size);
  return result;
}

function thresholdMap(size, seed) {
  const random = randomNumbers(seed);
  const fine = smooth(Float32Array.from({ length: size * size }, random), size, 1);
  const coarse = smooth(fine, size, 9);
  // A little of the coarse noise stays: a ground of resin dust is even, but not regular.
  const value = fine.map((noise, pixel) => noise - 0.8 * coarse[pixel]);
  const order = Array.from(value.keys()).sort((a, b) => value[a] - value[b]);
  const map = new Float32Array(size * size);
  order.forEach((pixel, rank) => { map[pixel] = (rank + 0.5) / order.length; });
  return map;
}

const grain = thresholdMap(GRAIN_SIZE, 1768);

/** The tone as a picture in one colour, as a data address. Specks have soft edges. */
function grainTile(tone, colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = GRAIN_SIZE;
  const context = canvas.getContext("2d");
  const image = context.createImageData(GRAIN_SIZE, GRAIN_SIZE);
  grain.forEach((threshold, pixel) => {
    const ink = tone >= 1 ? 1 : Math.min(1, Math.max(0, (tone - threshold) * 9 + 0.5));
    image.data.set([...colour, Math.round(255 * ink)], pixel * 4);
  });
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** The red, green and blue of a colour of the theme, from 0 to 255. */
function themeColour(name) {
  const probe = document.createElement("canvas").getContext("2d");
  const swatch = document.createElement("span");
  swatch.className = `colour-${name}`;
  document.body.append(swatch);
  probe.fillStyle = getComputedStyle(swatch).color;
  swatch.remove();
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

const grainRules = new CSSStyleSheet();

/** Writes the tiles of the current theme as style rules. */
function bitePlate() {
  const ink = themeColour("ink");
  const accent = themeColour("accent");
  const size = `${GRAIN_SIZE / 2}px`;
  const rule = (selector, tone, colour) =>
    `${selector} { background-image: url(${grainTile(tone, colour)}); background-size: ${size} ${size}; }`;
  grainRules.replaceSync([
    ...LETTER_TONES.map((tone, level) => rule(`.tone-${level}`, tone, ink)),
    rule(".open::before", OPEN_TONES.waiting, ink),
    rule(".open.active::before, .legend .open::before", OPEN_TONES.active, ink),
    rule(".open.renoised::before", OPEN_TONES.active, accent),
    rule(".toned", 0.3, ink),
  ].join("\n"));
}
document.adoptedStyleSheets = [grainRules];

/** The level of ink of a word, from its probability. */
function toneLevel(probability) {
  if (probability === null || probability === undefined) return LETTER_TONES.length - 1;
  return Math.min(LETTER_TONES.length - 1, Math.floor(probability * LETTER_TONES.length));
}

// The picture on an empty plate: hills at night in flat tones, each bitten a little longer than the one before, as an
// etcher stops out the light parts first.

/** The tone at a point of the picture; both coordinates from 0 to 1, the origin at the upper left. */
function landscape(x, y, aspect) {
  const wave = (length, phase) => Math.sin((x * 6.283) / length + phase);
  const moon = Math.hypot((x - 0.7) * aspect, y - 0.27);
  if (y > 0.79) return water(x, y, aspect, wave);
  if (y > 0.77 - 0.1 * wave(1.5, 2.2) - 0.03 * wave(0.31, 1) - 0.006 * wave(0.023, 0)) return 0.93;
  if (y > 0.66 - 0.11 * wave(1.15, 4.4) - 0.03 * wave(0.27, 0)) return 0.7;
  if (y > 0.55 - 0.08 * wave(0.8, 0.4) - 0.03 * wave(0.21, 2)) return 0.5;
  if (moon < 0.1) return 0;
  if (y < 0.2 + 0.05 * wave(0.9, 1) + 0.02 * wave(0.37, 0) && moon > 0.2) return 0.42;
  if (y < 0.36 + 0.04 * wave(0.7, 3) + 0.02 * wave(0.29, 1) && moon > 0.145) return 0.28;
  return 0.15;
}

/** Still water under the hills, with the light of the moon on it in short strokes. */
function water(x, y, aspect, wave) {
  const depth = y - 0.79;
  const ripple = Math.sin(depth * 210 + 2.5 * wave(0.4, 0));
  const reach = 0.07 + 0.25 * depth;
  if (Math.abs(x - 0.7) * aspect < reach * (0.55 + 0.45 * ripple) && ripple > -0.35) return 0.05;
  return ripple > 0.72 - depth ? 0.4 : 0.6;
}

function drawLandscape(canvas) {
  const box = canvas.getBoundingClientRect();
  if (!box.width || !box.height) return;
  // Finer than the screen, so that specks are small and their edges soft.
  const scale = Math.min(3, Math.max(2, 1.5 * window.devicePixelRatio));
  const width = (canvas.width = Math.round(box.width * scale));
  const height = (canvas.height = Math.round(box.height * scale));
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const ink = themeColour("vignette");
  // On the dark plate the picture is scraped from black to light, as a mezzotint is: what is light there has the grain.
  const scraped = ink[0] > 128;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const threshold = grain[(row % GRAIN_SIZE) * GRAIN_SIZE + (column % GRAIN_SIZE)];
      const bitten = landscape(column / width, row / height, width / height);
      const tone = scraped ? (1 - bitten) ** 2 : bitten;
      const alpha = Math.min(1, Math.max(0, (tone - threshold) * 10 + 0.5));
      image.data.set([...ink, Math.round(255 * alpha)], (row * width + column) * 4);
    }
  }
  context.putImageData(image, 0, 0);
}
