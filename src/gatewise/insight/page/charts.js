// Drawing on canvases that share one axis of steps: heat maps, lines, bars.

const LEFT = 52;
const RIGHT = 10;

/** A canvas made as sharp as the screen; gives what to draw with, and its width. */
function prepared(canvas, height) {
  const width = canvas.clientWidth || canvas.parentElement.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${style("--font")}`;
  return { pen, width, height };
}

/** Where the steps are drawn: a function from a step (may be broken) to a place, and back. */
function stepAxis(width, [first, stop]) {
  const wide = Math.max(1, width - LEFT - RIGHT) / (stop - first);
  return {
    wide,
    first,
    stop,
    x: (t) => LEFT + (t - first) * wide,
    step: (x) => Math.max(first, Math.min(stop - 1, Math.floor((x - LEFT) / wide) + first)),
  };
}

/** Round numbers between two, about so many. */
function ticks(low, high, about) {
  const raw = (high - low) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

function drawStepAxis(pen, axis, y, width) {
  pen.fillStyle = style("--soft");
  pen.textAlign = "center";
  pen.textBaseline = "top";
  pen.fillText("step", LEFT - 26, y + 6);
  const shown = axis.stop - axis.first;
  const marks = ticks(page.first + axis.first, page.first + axis.stop - 1, Math.min(width / 90, shown));
  for (const mark of marks.filter(Number.isInteger)) {
    const x = axis.x(mark - page.first + 0.5);
    pen.fillRect(x, y, 1, 4);
    pen.fillText(String(mark), Math.min(x, width - 14), y + 6);
  }
}

function drawCursor(pen, axis, t, top, bottom) {
  if (t < axis.first || t >= axis.stop) return;
  pen.strokeStyle = style("--ink");
  pen.lineWidth = 1;
  if (axis.wide >= 4) pen.strokeRect(axis.x(t) - 0.5, top - 0.5, axis.wide + 1, bottom - top + 1);
  else {
    pen.beginPath();
    pen.moveTo(axis.x(t + 0.5), top);
    pen.lineTo(axis.x(t + 0.5), bottom);
    pen.stroke();
  }
}

/** A scale of values: linear, or of logarithms. */
function valueAxis(low, high, top, bottom, log = false) {
  const of = log ? Math.log10 : (v) => v;
  const [a, b] = [of(low), of(high)];
  const span = b - a || 1;
  const y = (v) => bottom - ((of(v) - a) / span) * (bottom - top);
  let marks = log ? ticks(a, b, 4).filter(Number.isInteger).map((k) => 10 ** k) : ticks(low, high, 4);
  if (log && marks.length < 2) marks = [low, high];
  return { y, marks, low, high };
}

function drawValueAxis(pen, axis, width) {
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const mark of axis.marks) {
    const y = Math.round(axis.y(mark)) + 0.5;
    pen.strokeStyle = style("--line");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(LEFT, y);
    pen.lineTo(width - RIGHT, y);
    pen.stroke();
    pen.fillStyle = style("--soft");
    pen.fillText(short(mark, 2), LEFT - 6, y);
  }
}

/**
 * Lines over the steps. Each series is `{ of: (t) => number, colour, dash, wide }`; NaN leaves a gap.
 */
function drawLines(canvas, { series, zoom, step, low, high, log = false, height = 170 }) {
  const { pen, width } = prepared(canvas, height);
  const axis = stepAxis(width, zoom);
  const [top, bottom] = [8, height - 26];
  const values = valueAxis(low, high, top, bottom, log);
  drawValueAxis(pen, values, width);
  drawStepAxis(pen, axis, bottom, width);
  const within = (value) => values.y(Math.max(low, Math.min(high, value)));
  for (const { of, colour, dash, wide } of series) {
    drawLine(pen, axis, log ? (t) => (of(t) > 0 ? of(t) : NaN) : of, within, colour, wide, dash);
  }
  drawCursor(pen, axis, step, top, bottom);
  return axis;
}

/** One strip for each series, each on its own scale, its words above it. */
function drawStrips(canvas, { series, zoom, step, tall = 58 }) {
  const { pen, width, height } = prepared(canvas, series.length * tall + 26);
  const axis = stepAxis(width, zoom);
  series.forEach(({ of, words: called, colour }, k) => {
    const [top, bottom] = [k * tall + 18, (k + 1) * tall - 4];
    const [low, high] = extent(range(...zoom).map(of));
    const scale = valueAxis(low, high, top, bottom);
    drawValueAxis(pen, { ...scale, marks: [low, high] }, width);
    pen.fillStyle = style("--ink");
    pen.textAlign = "left";
    pen.textBaseline = "bottom";
    pen.fillText(called, LEFT, top - 2, width - LEFT - RIGHT);
    drawLine(pen, axis, of, scale.y, colour);
  });
  drawStepAxis(pen, axis, height - 24, width);
  drawCursor(pen, axis, step, 0, height - 26);
}

/** One line, with gaps where there are no numbers. */
function drawLine(pen, axis, of, y, colour, wide = 1.6, dash = []) {
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.lineWidth = wide;
  pen.setLineDash(dash);
  pen.beginPath();
  let down = false;
  for (let t = axis.first; t < axis.stop; t++) {
    const value = of(t);
    const known = Number.isFinite(value);
    if (known && down) pen.lineTo(axis.x(t + 0.5), y(value));
    else if (known) pen.moveTo(axis.x(t + 0.5), y(value));
    if (known && axis.stop - axis.first < 3) pen.fillRect(axis.x(t + 0.5) - 2, y(value) - 2, 4, 4);
    down = known;
  }
  pen.stroke();
  pen.setLineDash([]);
}

/** Bars over the steps, up where `of(t)` is positive and down where it is negative. */
function drawBars(canvas, { of, zoom, step, height = 170 }) {
  const { pen, width } = prepared(canvas, height);
  const axis = stepAxis(width, zoom);
  const [top, bottom] = [8, height - 26];
  const shown = range(axis.first, axis.stop).map(of).filter(Number.isFinite);
  const most = Math.max(1e-30, ...shown.map(Math.abs));
  const low = shown.some((v) => v < 0) ? -most : 0;
  const high = shown.some((v) => v > 0) || low === 0 ? most : 0;
  const values = valueAxis(low, high, top, bottom);
  drawValueAxis(pen, values, width);
  drawStepAxis(pen, axis, bottom, width);
  for (let t = axis.first; t < axis.stop; t++) {
    const value = of(t);
    if (!Number.isFinite(value)) continue;
    pen.fillStyle = style(value < 0 ? "--negative" : "--positive");
    const [y, zero] = [values.y(value), values.y(0)];
    const gap = axis.wide > 4 ? 1 : 0;
    pen.fillRect(axis.x(t) + gap / 2, Math.min(y, zero), Math.max(1, axis.wide - gap), Math.abs(y - zero));
  }
  drawCursor(pen, axis, step, top, bottom);
  return axis;
}

/** Many small numbers as an image, one pixel each: `of(t, r)` for rows from below. */
function image(steps, rows, of, gate, most) {
  const canvas = document.createElement("canvas");
  canvas.width = steps;
  canvas.height = rows;
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(steps, rows);
  const colours = table(gate);
  for (let r = 0; r < rows; r++) {
    for (let t = 0; t < steps; t++) {
      const value = of(t, r);
      const part = gate ? value : (value / (most || 1) + 1) / 2;
      if (Number.isNaN(part)) continue;
      const [red, green, blue] = colours[Math.max(0, Math.min(511, Math.round(part * 511)))];
      pixels.data.set([red, green, blue, 255], 4 * ((rows - 1 - r) * steps + t));
    }
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** A heat map, steps across and rows from below; `names(r)` are words for some rows. */
function drawHeat(canvas, { picture, zoom, step, row = -1, names, height = 260 }) {
  const { pen, width } = prepared(canvas, height);
  const axis = stepAxis(width, zoom);
  const [top, bottom, rows] = [6, height - 26, picture.height];
  const tall = (bottom - top) / rows;
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = style("--empty");
  pen.fillRect(LEFT, top, width - LEFT - RIGHT, bottom - top);
  const shown = axis.stop - axis.first;
  pen.drawImage(picture, axis.first, 0, shown, rows, LEFT, top, width - LEFT - RIGHT, bottom - top);
  pen.fillStyle = style("--soft");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  const every = Math.max(1, Math.ceil(16 / tall));
  for (let r = 0; r < rows; r += every) pen.fillText(names(r), LEFT - 6, bottom - (r + 0.5) * tall);
  drawStepAxis(pen, axis, bottom, width);
  drawCursor(pen, axis, step, top, bottom);
  if (row >= 0) {
    pen.strokeStyle = style("--ink");
    pen.strokeRect(LEFT - 0.5, bottom - (row + 1) * tall - 0.5, width - LEFT - RIGHT + 1, Math.max(2, tall + 1));
  }
  return { ...axis, row: (y) => Math.max(0, Math.min(rows - 1, Math.floor((bottom - y) / tall))) };
}

function range(first, stop) {
  return Array.from({ length: Math.max(0, stop - first) }, (_, k) => first + k);
}

/** The smallest and largest of finite numbers, apart from each other. */
function extent(numbers, signed = false) {
  let [low, high] = [Infinity, -Infinity];
  for (const x of numbers) {
    if (!Number.isFinite(x)) continue;
    low = Math.min(low, x);
    high = Math.max(high, x);
  }
  if (low > high) return [-1, 1];
  if (signed) high = Math.max(Math.abs(low), Math.abs(high)) || 1;
  if (signed) low = -high;
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** The elements of a legend, each with a line as it is drawn. */
function legend(element, series) {
  element.replaceChildren(
    ...series.map(({ words, colour, dash, wide = 1.8 }) => {
      const item = document.createElement("span");
      const line = vector("svg", { width: 26, height: 10, "aria-hidden": "true" });
      const attributes = { x1: 0, y1: 5, x2: 26, y2: 5, stroke: colour, "stroke-width": wide + 0.6 };
      line.append(vector("line", { ...attributes, "stroke-dasharray": dash.join(" ") }));
      item.append(line, words);
      return item;
    }),
  );
}

/** An element of SVG. */
function vector(kind, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An element of HTML. */
function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
