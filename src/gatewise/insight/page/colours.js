// Colours that colour-blind readers can tell apart: Okabe & Ito (2008) for lines, cividis (Nunez, Anderton &
// Renslow 2018) for gates, whose lightness rises evenly; for signed values two colours of the former, from
// transparent.

const CIVIDIS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
];

/** What a variable of the style sheet is now. */
function style(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

function rgb(hex) {
  return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
}

function between(a, b, part) {
  return a.map((channel, k) => Math.round(channel + part * (b[k] - channel)));
}

/** From 0 to 1. */
function gateColour(x) {
  const place = Math.min(1, Math.max(0, x)) * (CIVIDIS.length - 1);
  const k = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return between(CIVIDIS[k], CIVIDIS[k + 1], place - k);
}

/** From -1 to 1. */
function signedColour(x) {
  const size = Math.min(1, Math.abs(x));
  return between(rgb(style("--nothing")), rgb(style(x < 0 ? "--negative" : "--positive")), Math.sqrt(size));
}

/** A table of 512 colours from low to high, for speed. */
function table(gate) {
  const key = `${gate} ${style("--nothing")}`;
  if (!table.known.has(key)) {
    const colour = (k) => (gate ? gateColour(k / 511) : signedColour(k / 255.5 - 1));
    table.known.set(key, Array.from({ length: 512 }, (_, k) => colour(k)));
  }
  return table.known.get(key);
}
table.known = new Map();

/** The colour of a value on a scale: `gate` from 0 to 1, else from -most to most. */
function colourOf(x, gate, most) {
  const part = gate ? x : (x / (most || 1) + 1) / 2;
  return table(gate)[Math.max(0, Math.min(511, Math.round(part * 511)))];
}

/** Black or white, whichever reads better on a colour (WCAG 2.2, relative luminance). */
function inkOn(colour) {
  const [r, g, b] = colour.map((channel) => {
    const x = channel / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2], [12, 4]];

/** Colour and dashes of the series number k. */
function pen(k) {
  return { colour: style(`--line-${k % 7}`), dash: DASHES[Math.floor(k / 7) % 7 || k % 7] };
}
