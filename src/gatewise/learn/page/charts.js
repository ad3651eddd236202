// Lines over steps.

/** Round numbers between two bounds, about as many as asked for. */
function ticks(low, high, count) {
  const span = high - low || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough * 0.999);
  const marks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k++) marks.push(k * step);
  return marks;
}

/**
 * Lines over steps. Options:
 *   label     what is to be seen, in words: a text, or a function called at each drawing
 *   height    in pixels (220)
 *   lines     () => [{ name, colour, values, dash, wide }]; the colour by name ("forget"), NaN leaves a gap
 *   range     [low, high], or () => [low, high]; without it that of the numbers
 *   log       whether the scale is of powers of ten
 *   first     the number of the first step (1); `across` is what the steps are called
 *   cursor    () => a step to mark, or null
 *   on        (step) => ...: a press or a drag
 *   legend    whether the names are written (true)
 */
function chart(kit, options) {
  const { lines, first = 1, across = textOf("kit", "step"), height = 220, log = false } = options;
  let axis = null;
  const names = element("div", { class: "legend" });
  const picture = kit.canvas({
    label: options.label,
    height,
    draw(pen, width, tall) {
      const shown = lines();
      const steps = Math.max(1, ...shown.map(({ values }) => values.length));
      axis = frame(pen, { width, tall, steps, first, across, log, bounds: bounds(options, shown, log) });
      shown.forEach((line) => trace(pen, axis, line));
      mark(pen, axis, options.cursor?.() ?? null, tall);
      if (options.legend ?? true) legend(names, shown);
    },
    on: options.on && (({ x }) => options.on(axis.step(x))),
  });
  return { element: element("div", { class: "chart" }, picture.element, names), redraw: picture.redraw };
}

function bounds({ range }, shown, log) {
  const given = typeof range === "function" ? range() : range;
  if (given) return given;
  let [low, high] = [Infinity, -Infinity];
  for (const { values } of shown) {
    for (const value of values) {
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
  }
  if (low > high) return log ? [0.1, 1] : [-1, 1];
  if (log) return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high) + 1e-9)];
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** The axes; returns how steps and values become places. */
function frame(pen, { width, tall, steps, first, across, log, bounds: [low, high] }) {
  const [left, right, top, bottom] = [52, width - 12, 10, tall - 34];
  const of = log ? (v) => Math.log10(Math.max(v, 1e-30)) : (v) => v;
  const y = (v) => bottom - ((of(v) - of(low)) / (of(high) - of(low) || 1)) * (bottom - top);
  const wide = (right - left) / Math.max(1, steps - 1);
  const x = (k) => left + k * wide;
  let marks = log ? ticks(of(low), of(high), 4).filter(Number.isInteger).map((k) => 10 ** k) : ticks(low, high, 4);
  if (marks.length < 2) marks = [low, high];
  pen.textAlign = "right";
  for (const value of marks) {
    pen.fillStyle = style("--line");
    pen.fillRect(left, Math.round(y(value)), right - left, 1);
    pen.fillStyle = style("--soft");
    pen.fillText(log && value < 1e-3 ? power(value) : number(value, 2).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""), left - 8, y(value));
  }
  pen.textAlign = "center";
  for (const step of ticks(first, first + steps - 1, Math.min(steps, width / 80)).filter(Number.isInteger)) {
    pen.fillText(String(step), x(step - first), bottom + 12);
  }
  pen.textAlign = "right";
  pen.fillText(plain(across), right, tall - 7);
  return { x, y, low, high, top, bottom, steps, step: (at) => Math.max(0, Math.min(steps - 1, Math.round((at - left) / wide))) };
}

/** A power of ten, written as one. */
function power(value) {
  return `10${[...String(Math.round(Math.log10(value)))].map(raised).join("")}`;
}

function trace(pen, axis, { values, colour, dash = [], wide = 2 }) {
  pen.strokeStyle = pen.fillStyle = style(`--${colour}`) || colour;
  pen.lineWidth = wide;
  pen.lineJoin = "round";
  pen.setLineDash(dash);
  pen.beginPath();
  let down = false;
  values.forEach((value, k) => {
    const known = Number.isFinite(value);
    const place = axis.y(Math.max(axis.low, Math.min(axis.high, value)));
    if (known && down) pen.lineTo(axis.x(k), place);
    else if (known) pen.moveTo(axis.x(k), place);
    down = known;
  });
  pen.stroke();
  pen.setLineDash([]);
  if (values.length > 30) return;
  values.forEach((value, k) => {
    if (!Number.isFinite(value)) return;
    pen.beginPath();
    pen.arc(axis.x(k), axis.y(Math.max(axis.low, Math.min(axis.high, value))), wide + 1, 0, 7);
    pen.fill();
  });
}

function mark(pen, axis, step) {
  if (step === null) return;
  pen.fillStyle = style("--ink");
  pen.fillRect(Math.round(axis.x(step)), axis.top, 1, axis.bottom - axis.top);
}

function legend(target, shown) {
  target.replaceChildren(
    ...shown.filter(({ name }) => name).map(({ name, colour, dash = [], wide = 2 }) => {
      const line = vector("line", { x1: 0, y1: 5, x2: 26, y2: 5, "stroke-width": wide + 0.5, "stroke-dasharray": dash.join(" ") });
      line.style.stroke = style(`--${colour}`) || colour;
      return element("span", {}, vector("svg", { width: 26, height: 10, "aria-hidden": "true" }, line), element("span", {}, rich(name)));
    }),
  );
}

/** An element of SVG. */
function vector(kind, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
