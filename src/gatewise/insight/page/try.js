// The part of the page in which the reader changes what the network reads.

/** Compile the kernels, run the first sequence, say whether it is what Python computed, and open the part. */
async function runHere() {
  if (!page.running) return;
  for (const id of ["try", "to-try", "and-runs"]) byId(id).hidden = false;
  try {
    network = await Network.of(page.running);
  } catch (error) {
    byId("try-bits").textContent = `This browser does not run the network: ${error.message}`;
    return;
  }
  const row = range(0, page.rows).find((r) => end(r) > 0) ?? 0;
  byId("try-bits").textContent = bitsInWords(compared(network, row), row);
  byId("try-live").hidden = false;
  tryControls();
  answerControls();
  heldControls();
  redraw();
}

function bitsInWords({ numbers: count, different, most, output }, row) {
  const all = count.toLocaleString("en");
  const found =
    different === 0
      ? `all ${all} numbers of its layers equal Python\u2019s, to the last bit`
      : `${different.toLocaleString("en")} of the ${all} numbers of its layers differ from Python\u2019s, by ${short(most, 2)} at most`;
  const why = page.running.double
    ? " The model computes in float64, the page in float32."
    : !gatewise.simd().sameBits
    ? " This browser rounds products and sums apart."
    : network.adds ? " What they read is added up in another order." : "";
  const reason = different ? why : "";
  const answers = output
    ? ` Its answers differ by ${short(output, 2)} at most, since they are added up in another order.`
    : output === 0 ? " So do its answers." : "";
  return `The page has computed ${rowTitle(row)} again: ${found}.${reason}${answers}`;
}

const TABLE = 100_000; // most numbers in the table

function inputNames() {
  return page.inputs?.names.length === network.wide ? page.inputs.names : range(0, network.wide).map((k) => `input ${k}`);
}

let shownInput = ""; // what the text and the table show

function showTry() {
  const { row } = view;
  const { vocabulary, ids } = page.running;
  byId("typing").hidden = !vocabulary;
  byId("curve-part").hidden = Boolean(vocabulary) || ids || !end(row);
  byId("restart").hidden = !isOwn(row);
  byId("restart").textContent = `Back to ${rowTitle(own.base)}`;
  byId("own-words").textContent = ownWords();
  const key = `${row} ${isOwn(row) ? own.version : ""}`;
  if (shownInput !== key) {
    if (vocabulary) showTyped();
    else if (!ids) showTable();
  }
  shownInput = key;
  if (!byId("curve-part").hidden) showCurve();
}

function ownWords() {
  if (!isOwn(view.row)) return "";
  return `This is a sequence of your own, which began as ${rowTitle(own.base)}.`;
}

function wordsOf(row) {
  if (isOwn(row)) return own.words;
  return page.tokens?.[row]?.slice(0, end(row)) ?? Array.from(network.given(row), String);
}

function showTyped() {
  if (document.activeElement !== byId("typed")) byId("typed").value = written(wordsOf(view.row), page.running.vocabulary);
}

function typed() {
  const { vocabulary } = page.running;
  const { words, unknown } = readText(byId("typed").value, vocabulary);
  const said = unknown.slice(0, 8).map((word) => `\u201c${word}\u201d`).join(", ");
  const some = vocabulary.words.slice(0, 30).join(vocabulary.words.every((word) => [...word].length === 1) ? "" : ", ");
  byId("typed-words").textContent = unknown.length
    ? `The network does not know ${said}, and reads the rest. It knows ${some}${vocabulary.words.length > 30 ? " and more" : ""}.`
    : !words.length ? "There is no text yet. What is below was read before."
    : words.length > MOST_STEPS ? `It reads the first ${MOST_STEPS}.` : "";
  const read = words.slice(0, MOST_STEPS);
  if (!read.length) return;
  begin();
  changeOwn({ words: read, times: null, input: inputOfWords(read, vocabulary) });
}

/** The table in the text field, unless the reader writes in it. */
function showTable() {
  const input = inputOf(view.row);
  byId("table-part").hidden = input.length > TABLE;
  if (document.activeElement !== byId("table") && byId("table-part").open) byId("table").value = tableOf(input, inputNames());
}

function pasted() {
  const { input, names, wrong } = readTable(byId("table").value, inputNames());
  const order = names ? " The first line has other names than the inputs: the columns are read in their order." : "";
  byId("table-words").textContent = wrong ?? `Read: ${counted(input.length / network.wide, "step")}.${order}`;
  if (wrong) return;
  begin();
  changeOwn({ words: null, input });
}

/** The input that the curve shows. */
function curveInput() {
  return Number(byId("curve-input").value || 0);
}

/** The bounds of the curve: those of the sequence it began as, with room to drag beyond. */
function curveBounds() {
  const input = inputOf(view.row);
  const k = curveInput();
  const [low, high] = extent([...range(0, end(view.row)).map((t) => input[t * network.wide + k]), ...baseNumbers(k)]);
  const more = 0.25 * (high - low);
  return [low - more, high + more];
}

function baseNumbers(k) {
  const base = network.given(baseOf(view.row));
  return range(0, base.length / network.wide).map((t) => base[t * network.wide + k]);
}

let dragBounds = null; // while a point is dragged, the axis stays

function showCurve() {
  const [input, k] = [inputOf(view.row), curveInput()];
  const { zoom, step, row } = view;
  const of = (t) => (t < end(row) ? input[t * network.wide + k] : NaN);
  const was = baseNumbers(k);
  const line = { words: inputNames()[k], of, colour: style("--line-0"), dash: [], wide: 2.2 };
  const before = { ...line, of: (t) => was[t] ?? NaN, dash: [5, 4], wide: 1.4 };
  const [low, high] = dragBounds ?? curveBounds();
  drawLines(byId("curve"), { series: isOwn(row) ? [before, line] : [line], zoom, step, low, high });
  byId("curve").setAttribute("aria-label", `${inputNames()[k]} over the steps; at ${stepName(step, row)} ${short(of(step))}`);
  if (document.activeElement !== byId("curve-number")) byId("curve-number").value = Number.isFinite(of(step)) ? digits(of(step)) : "";
  byId("curve-at").textContent = `At ${stepName(step, row)}`;
}

/** Give the chosen input another value from one step to another. */
function setInput(from, to) {
  begin();
  const input = own.input.slice();
  const k = curveInput();
  const steps = range(Math.min(from.t, to.t), Math.max(from.t, to.t) + 1).filter((t) => t < end(view.row));
  for (const t of steps) {
    const part = from.t === to.t ? 1 : (t - from.t) / (to.t - from.t);
    input[t * network.wide + k] = from.value + part * (to.value - from.value);
  }
  changeOwn({ input });
}

/** Drag points of the curve with mouse, pen or finger. */
function dragging() {
  const canvas = byId("curve");
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const [low, high] = dragBounds ?? curveBounds();
    const axis = stepAxis(canvas.clientWidth, view.zoom);
    const [top, bottom] = [8, canvas.clientHeight - 26];
    const y = clamp(event.clientY - box.top, top, bottom);
    return { t: Math.min(axis.step(event.clientX - box.left), end(view.row) - 1), value: low + ((bottom - y) / (bottom - top)) * (high - low) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    dragBounds = curveBounds();
    last = place(event);
    choose({ step: last.t });
    setInput(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const to = place(event);
    setInput(last, to);
    choose({ step: to.t });
    last = to;
  });
  const done = () => {
    last = dragBounds = null;
    redraw();
  };
  canvas.addEventListener("pointerup", done);
  canvas.addEventListener("pointercancel", done);
}

function tryControls() {
  options(byId("curve-input"), inputNames());
  byId("curve-input").parentElement.hidden = network.wide < 2;
  byId("curve-input").addEventListener("change", redraw);
  byId("curve-number").addEventListener("input", () => {
    const value = byId("curve-number").valueAsNumber;
    if (Number.isFinite(Math.fround(value))) setInput({ t: view.step, value }, { t: view.step, value });
  });
  byId("typed").addEventListener("input", typed);
  byId("table").addEventListener("input", pasted);
  byId("table-part").addEventListener("toggle", showTable);
  byId("restart").addEventListener("click", () => {
    byId("typed-words").textContent = "";
    discard();
  });
  if (!page.running.vocabulary) dragging();
  onChange(showTry);
}
