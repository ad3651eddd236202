// What the network answers, with what is held and without, side by side.

const FEW_OUTPUTS = 8; // of which each has a line
const BEST = 6; // outputs in the table

/** The scores of one step as the page shows them: as probabilities if they are scores of classes. */
function shownOutputs({ data, width }, t) {
  const scores = data.subarray(t * width, (t + 1) * width);
  if (!page.running.probabilities) return scores;
  const most = Math.max(...scores);
  const parts = Array.from(scores, (score) => Math.exp(score - most));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}

/** All outputs of a run as the page shows them, one array a step; made once. */
function outputsOf(found) {
  found.shown ??= range(0, found.output.steps).map((t) => shownOutputs(found.output, t));
  return found.shown;
}

function outputName(k) {
  const named = page.running.output === null ? `unit ${k}` : `output ${k}`;
  return page.running.names?.[k] ?? named;
}

/** With what the shown sequence is compared: the same with nothing held, or the one that it was; null for none. */
function reference() {
  if (!isOwn(view.row)) return null;
  if (own.held.length) return { found: ownRun().without, words: "Without what is held" };
  return own.changed ? { found: foundOf(own.base), words: `Sequence ${own.base}, as it was` } : null;
}

/** The step of the outputs that belongs to the chosen step. */
function outputStep(found) {
  return network.everywhere ? Math.min(view.step, found.output.steps - 1) : found.output.steps - 1;
}

function inWords(x) {
  return page.running.probabilities ? percent(x) : short(x);
}

function showAnswers() {
  byId("answer-part").hidden = !network || !end(view.row);
  if (byId("answer-part").hidden) return;
  const found = foundOf(view.row);
  const other = reference();
  const lines = network.everywhere && found.output.width <= FEW_OUTPUTS;
  byId("answer-words").textContent = answerWords();
  byId("answer-key").textContent = other ? `Dashed: ${other.words.toLowerCase()}.` : "";
  showBest(found, other);
  if (lines) drawAnswers(found, other);
  else drawProfile(found, other);
}

/** After which step the answer is. */
function answerWords() {
  const name = stepName(view.step, view.row);
  const outside = network.outside ? " A part of the answer does not come from the layers. It stays as it was." : "";
  if (!network.everywhere) return `After the whole sequence.${outside}`;
  return network.ends ? `If the sequence ended with ${name}.` : `After ${name}.`;
}

function drawAnswers(found, other) {
  const all = outputsOf(found);
  const series = range(0, found.output.width).flatMap((k) => {
    const line = { words: outputName(k), of: (t) => all[t]?.[k] ?? NaN, ...pen(k), dash: [], wide: 2.2 };
    const was = other && { ...line, of: (t) => outputsOf(other.found)[t]?.[k] ?? NaN, dash: [5, 4], wide: 1.4, words: null };
    return was ? [was, line] : [line];
  });
  const { zoom, step } = view;
  const bounds = page.running.probabilities ? [0, 1] : extent(series.flatMap(({ of }) => range(...zoom).map(of)));
  drawLines(byId("answer"), { series, zoom, step, low: bounds[0], high: bounds[1] });
  legend(byId("answer-legend"), series.filter(({ words: called }) => called !== null));
}

const MOST_BARS = 12; // of numbers; more are a line

/** The outputs at one step, side by side: bars or a line, and dashes where they were. */
function drawProfile(found, other) {
  const t = outputStep(found);
  const now = outputsOf(found)[t];
  const was = other && outputsOf(other.found)[Math.min(t, other.found.output.steps - 1)];
  const { pen: ink, width } = prepared(byId("answer"), 190);
  const [top, bottom] = [8, 164];
  const bars = page.running.probabilities || now.length <= MOST_BARS;
  const [low, high] = extent([...(bars ? [0] : []), ...now, ...(was ?? [])]);
  const scale = valueAxis(low, high, top, bottom);
  const wide = (width - LEFT - RIGHT) / now.length;
  drawValueAxis(ink, scale, width);
  const zero = scale.y(0);
  const axis = { first: 0, stop: now.length, x: (k) => LEFT + k * wide };
  if (!bars) drawLine(ink, axis, (k) => now[k], scale.y, style("--line-0"), 2.2);
  else now.forEach((value, k) => {
    ink.fillStyle = style(value < 0 ? "--negative" : "--positive");
    const y = scale.y(value);
    ink.fillRect(LEFT + k * wide, Math.min(y, zero), Math.max(1, wide - (wide > 4 ? 1 : 0)), Math.abs(y - zero));
  });
  if (was) drawLine(ink, axis, (k) => was[k], scale.y, style("--ink"), 1.6, [5, 4]);
  ink.fillStyle = style("--soft");
  ink.textBaseline = "top";
  ink.textAlign = "left";
  ink.fillText(outputName(0), LEFT, bottom + 8);
  ink.textAlign = "right";
  ink.fillText(outputName(now.length - 1), width - RIGHT, bottom + 8);
  byId("answer-legend").replaceChildren();
}

/** The outputs in the table: the most probable ones, or some from first to last. */
function listed(now) {
  const all = range(0, now.length);
  if (page.running.probabilities) return all.sort((a, b) => now[b] - now[a]).slice(0, BEST);
  if (now.length <= FEW_OUTPUTS) return all;
  return range(0, BEST).map((k) => Math.round((k * (now.length - 1)) / (BEST - 1)));
}

/** Some outputs at the chosen step, beside what they were. */
function showBest(found, other) {
  const t = outputStep(found);
  const now = [...outputsOf(found)[t]];
  const was = other && outputsOf(other.found)[Math.min(t, other.found.output.steps - 1)];
  const best = listed(now);
  const cell = (value) => element("td", {}, element("data", { value: String(value) }, inWords(value)));
  const rows = best.map((k) => {
    const name = element("th", { scope: "row" }, outputName(k));
    return element("tr", {}, name, cell(now[k]), ...(was ? [cell(was[k])] : []));
  });
  const heads = [page.running.probabilities ? "Answer" : "Output", "Now", ...(was ? [other.words] : [])];
  byId("best-head").replaceChildren(element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text))));
  byId("best").replaceChildren(...rows);
  const said = best.map((k) => `${outputName(k)} ${inWords(now[k])}`).join(", ");
  byId("answer").setAttribute("aria-label", `${byId("answer-words").textContent} ${said}`);
}

function answerControls() {
  const axis = () => stepAxis(byId("answer").clientWidth, view.zoom);
  const lines = () => network.everywhere && foundOf(view.row).output.width <= FEW_OUTPUTS;
  pointing(
    byId("answer"),
    () => (lines() ? axis() : profileAxis()),
    (t) => lines() && choose({ step: t }),
    (t) => {
      const all = outputsOf(foundOf(view.row));
      if (!lines()) return `${outputName(t)}: ${inWords(all[outputStep(foundOf(view.row))][t])}`;
      const said = [...(all[t] ?? [])].map((value, k) => `${outputName(k)} ${inWords(value)}`).join(", ");
      return `${stepName(t, view.row)}: ${said}`;
    },
  );
  onChange(showAnswers);
}

function profileAxis() {
  const { width } = foundOf(view.row).output;
  const wide = (byId("answer").clientWidth - LEFT - RIGHT) / width;
  return { step: (x) => clamp(Math.floor((x - LEFT) / wide), 0, width - 1) };
}
