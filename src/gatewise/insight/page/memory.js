// The content of the memory at the end, when it was written, half-lives of units, saturation of gates.

const PARTS = 6;

/** What each step's writing to the memory of the chosen unit is worth at the end. */
function partsOf() {
  const { layer, row, unit } = view;
  return ledgerOf(layer, row, unit).of;
}

function showLedger() {
  const { layer, row, unit, zoom, step } = view;
  const { kind } = layer;
  const { of, start, total } = ledgerOf(layer, row, unit);
  const all = range(0, end(row));
  const sum = all.reduce((total, t) => total + (of(t) || 0), 0);
  const outside = page.steps < page.all_steps && !isOwn(row) ? `, ${signed(total - start - sum)} at steps that are not shown` : "";
  byId("ledger-words").textContent =
    `At the end of ${rowTitle(row)}, ${kind.state} of unit ${layer.units[unit]} is ${short(total)}: ` +
    `the sum of what each step wrote, times what later gates kept of it` +
    `${start ? `; ${signed(start)} of it is left of the initial state` : ""}${outside}. ` +
    (isOwn(row)
      ? `The parts miss the state by ${short(Math.abs(sum + start - total), 2)}.`
      : `The parts sum to the state, of all units and sequences, up to ${short(kind.residual, 2)} of its largest value.`);
  drawBars(byId("ledger"), { of, zoom, step });
  byId("ledger").setAttribute("aria-label", `What each step wrote to ${kind.state} of unit ${layer.units[unit]}, and is left at the end`);
  const largest = all.sort((a, b) => Math.abs(of(b)) - Math.abs(of(a))).slice(0, PARTS);
  byId("parts").replaceChildren(...largest.map((t) => partRow(t, of(t))));
}

function partRow(t, part) {
  const { layer, row } = view;
  const button = element("button", { type: "button", class: "link" }, stepName(t, row));
  button.addEventListener("click", () => choose({ step: t }));
  const last = layer.reverse ? 0 : end(row) - 1;
  const kept = Math.abs(last - t);
  const number = element("data", { value: String(part) }, signed(part));
  return element("tr", {}, element("td", {}, button), element("td", {}, number), element("td", {}, `${kept} step${kept === 1 ? "" : "s"}`));
}

let halvesPlaces = null;

/** Half-lives of all units, the longest first, on a scale of logarithms, beside the length of the sequence. */
function showHalves() {
  const { layer, unit } = view;
  const { kind } = layer;
  const lives = [...numbers(kind.realised)];
  const order = range(0, lives.length).sort((a, b) => lives[b] - lives[a] || a - b);
  const finite = lives.filter(Number.isFinite);
  const length = page.all_steps;
  const [low, high] = [Math.min(1, ...finite), Math.max(length, ...finite) * 2];
  const { pen, width } = prepared(byId("halves"), 210);
  const [top, bottom] = [14, 180];
  const scale = valueAxis(low, high, top, bottom, true);
  const wide = (width - LEFT - RIGHT) / lives.length;
  drawValueAxis(pen, scale, width);
  halvesPlaces = { order, wide };
  order.forEach((u, k) => {
    const y = scale.y(Number.isFinite(lives[u]) ? lives[u] : high);
    pen.fillStyle = style(u === unit ? "--ink" : "--keep");
    pen.fillRect(LEFT + k * wide, y, Math.max(1, wide - (wide > 3 ? 1 : 0)), bottom - y);
  });
  drawLength(pen, scale.y(length), width, length);
  pen.fillStyle = style("--soft");
  pen.textAlign = "left";
  pen.textBaseline = "top";
  pen.fillText("units, the longest memory first", LEFT, bottom + 8);
  const own = lives[unit];
  const gone = Number.isFinite(own) ? `loses half of ${kind.state} within ${short(own)} steps` : `keeps more than half of ${kind.state} throughout`;
  const never = lives.length - finite.length;
  byId("half-words").textContent =
    `Unit ${layer.units[unit]} ${gone}, as ${kind.gate} was on ${isOwn(view.row) ? "Python\u2019s sequences" : "this data"}. ${isOwn(view.row) ? "They have" : "The sequence has"} ${length} steps; ` +
    (never ? `${never} of ${lives.length} units keep more than half throughout.` : `the longest memory halves within ${short(Math.max(...finite))}.`);
  byId("halves").setAttribute("aria-label", `Half-lives of ${lives.length} units. ${byId("half-words").textContent}`);
}

function drawLength(pen, y, width, length) {
  pen.strokeStyle = style("--ink");
  pen.setLineDash([5, 4]);
  pen.beginPath();
  pen.moveTo(LEFT, y);
  pen.lineTo(width - RIGHT, y);
  pen.stroke();
  pen.setLineDash([]);
  pen.fillStyle = style("--ink");
  pen.textAlign = "right";
  pen.textBaseline = "bottom";
  pen.fillText(`the length of the sequence, ${length}`, width - RIGHT, y - 2);
}

function showMemory() {
  const { layer, row } = view;
  byId("memory-none").hidden = Boolean(layer.kind?.ledger);
  byId("memory-part").hidden = !layer.kind?.ledger;
  if (!layer.kind?.ledger || !end(row)) return;
  showLedger();
  showHalves();
}

/** How often each gate is shut, in between and open: of all units, and of the chosen one. */
function showSaturation() {
  const { layer, unit } = view;
  byId("saturation").hidden = !layer.saturation;
  if (!layer.saturation) return;
  const { low, high, gates } = layer.saturation;
  byId("saturation-words").textContent =
    `How much of the time each gate is nearly shut (below ${low}), in between, and nearly open (above ${high}), over all steps and sequences${isOwn(view.row) ? " that Python ran" : ""}. ` +
    "A gate that is always the same has nothing to decide.";
  const mean = (packed) => numbers(packed).reduce((a, b) => a + b, 0) / numbers(packed).length;
  const rows = gates.flatMap(({ name: called, left, right }) => [
    share(`${called}, all units`, mean(left), mean(right)),
    share(`${called}, unit ${layer.units[unit]}`, at(left, unit), at(right, unit)),
  ]);
  byId("saturation-bars").replaceChildren(...rows);
}

function share(title, left, right) {
  const parts = [["shut", left], ["between", 1 - left - right], ["open", right]];
  const bar = element("div", { class: "bar", "aria-hidden": "true" });
  for (const [kind, part] of parts) {
    const piece = element("span", { class: kind });
    piece.style.width = `${100 * part}%`;
    bar.append(piece);
  }
  const said = parts.map(([kind, part]) => `${kind} ${percent(Math.max(0, part))}`).join(", ");
  return element("div", { class: "share" }, element("span", { class: "who" }, title), bar, element("span", { class: "soft" }, said));
}

function memoryControls() {
  const stepAt = () => stepAxis(byId("ledger").clientWidth, view.zoom);
  pointing(byId("ledger"), stepAt, (t) => choose({ step: t }), (t) => `${stepName(t, view.row)}: ${signed(partsOf()(t))} left at the end`);
  const units = () => ({ step: (x) => clamp(Math.floor((x - LEFT) / halvesPlaces.wide), 0, halvesPlaces.order.length - 1) });
  const lives = (k) => {
    const unit = halvesPlaces.order[k];
    return `unit ${view.layer.units[unit]}: ${short(at(view.layer.kind.realised, unit))} steps`;
  };
  pointing(byId("halves"), units, (k) => choose({ unit: halvesPlaces.order[k] }), lives);
  onChange(showMemory);
  onChange(showSaturation);
}
