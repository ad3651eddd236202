// Gradients through the steps, and which steps and inputs mattered.

function flowSeries() {
  const { layer, row } = view;
  return Object.entries(layer.flow).map(([state, norms], k) => ({
    words: `by ${state}`,
    of: (t) => (t < end(row) ? at(norms, t, row) : NaN),
    ...pen(k),
  }));
}

/** Norms of derivatives, on a scale of logarithms, of at most twelve powers of ten. */
function showFlow() {
  const { layer, row, zoom, step } = view;
  byId("flow-part").hidden = !derived() || !layer.flow;
  if (byId("flow-part").hidden) return;
  const series = flowSeries();
  const all = series.flatMap(({ of }) => range(0, end(row)).map(of));
  const norms = all.filter((x) => x > 0 && Number.isFinite(x));
  if (!norms.length) {
    const none = all.every((x) => x === 0);
    const words = none ? `Nothing in this sequence reaches ${page.explained}: all derivatives are zero.` : "The derivatives are not finite numbers.";
    byId("flow-words").textContent = words;
    byId("flow").setAttribute("aria-label", words);
    prepared(byId("flow"), 10);
    return;
  }
  const [least, most] = extent(norms);
  const high = 10 ** Math.ceil(Math.log10(most));
  const low = Math.max(10 ** Math.floor(Math.log10(least)), high * 1e-12);
  legend(byId("flow-legend"), series);
  drawLines(byId("flow"), { series, zoom, step, low, high: Math.max(high, low * 10), log: true });
  const said = series.map(({ words, of }) => `${words} it is ${short(of(step))}`).join(", ");
  byId("flow-words").textContent =
    `How much ${page.explained} would change with the states of ${layer.name} after each step, to first order: ` +
    `at ${stepName(step, row)} ${said}. A line that falls by powers of ten towards the first step is a gradient that vanishes. ` +
    `The steps' shares sum to the gradient (residual ${short(layer.flow_residual, 2)}).`;
  byId("flow").setAttribute("aria-label", `Norms of derivatives by the states; at ${stepName(step, row)} ${said}`);
}

/** Whether the sequence is one that Python has taken derivatives of; else say so. */
function derived() {
  byId("why-not").hidden = !isOwn(view.row);
  byId("why-not").textContent = `Python took derivatives of its own sequences, not of yours: choose ${rowTitle(own.base)} below.`;
  return !isOwn(view.row);
}

function stepShare(t) {
  return t < end(view.row) ? at(page.shares.steps, t, view.row) : NaN;
}

function showShares() {
  byId("shares-part").hidden = !derived() || !page.shares;
  if (byId("shares-part").hidden || !end(view.row)) return;
  const { row, zoom, step } = view;
  const most = range(0, end(row)).reduce((a, b) => (Math.abs(stepShare(b)) > Math.abs(stepShare(a)) ? b : a), 0);
  drawBars(byId("shares"), { of: stepShare, zoom, step });
  byId("shares-text").hidden = !page.tokens;
  if (page.tokens) paint(byId("shares-text"), stepShare);
  byId("shares-words").textContent =
    `Integrated gradients share out ${page.explained}, ${short(at(page.shares.scores, row))} in ${rowTitle(row)}, less what it is for an input of zeros, ` +
    `among the steps: ${signed(stepShare(step))} to ${stepName(step, row)}, most to ${stepName(most, row)} with ${signed(stepShare(most))}. ` +
    `The shares miss their sum by ${short(page.shares.residual, 2)} of the largest.`;
  byId("shares").setAttribute("aria-label", `Shares of the steps of ${rowTitle(row)}; most has ${stepName(most, row)}`);
  showFeatures();
}

const featurePictures = new Map();
let featureAxis = null;

function featureShare(t, k) {
  return t < end(view.row) ? at(page.shares.features, t, view.row, k) : NaN;
}

function showFeatures() {
  byId("features-part").hidden = !page.shares.features;
  if (!page.shares.features) return;
  const { row, zoom, step } = view;
  const count = page.inputs.names.length;
  const from = (r) => count - 1 - r;
  const key = `${row} ${style("--nothing")}`;
  const [, most] = extent(range(0, end(row)).flatMap((t) => range(0, count).map((k) => featureShare(t, k))), true);
  if (!featurePictures.has(key)) {
    featurePictures.set(key, image(page.steps, count, (t, r) => featureShare(t, from(r)), false, most));
  }
  const height = Math.max(110, count * 17 + 32);
  const picture = featurePictures.get(key);
  featureAxis = drawHeat(byId("features"), { picture, zoom, step, names: (r) => String(from(r)), height });
  const totals = page.inputs.names.map((called, k) => [called, k, range(0, end(row)).reduce((sum, t) => sum + Math.abs(featureShare(t, k)), 0)]);
  const whole = totals.reduce((sum, [, , size]) => sum + size, 0) || 1;
  const largest = [...totals].sort((a, b) => b[2] - a[2]).slice(0, 3);
  byId("features-key").textContent =
    `${totals.map(([called, k]) => `${k} ${called}`).join(" · ")}. Most: ${largest.map(([called, , size]) => `${called} ${percent(size / whole)}`).join(", ")}.`;
  byId("features").setAttribute("aria-label", `Shares of ${count} inputs over the steps. ${byId("features-key").textContent}`);
}

function inputControls() {
  const axis = (id) => () => stepAxis(byId(id).clientWidth, view.zoom);
  const go = (t) => choose({ step: t });
  pointing(byId("flow"), axis("flow"), go, (t) => `${stepName(t, view.row)}: ${flowSeries().map(({ words, of }) => `${words} ${short(of(t))}`).join(", ")}`);
  pointing(byId("shares"), axis("shares"), go, (t) => `${stepName(t, view.row)}: ${signed(stepShare(t))}`);
  const feature = (r) => page.inputs.names.length - 1 - r;
  pointing(byId("features"), () => featureAxis, go, (t, r) => `${page.inputs.names[feature(r)]}, ${stepName(t, view.row)}: ${signed(featureShare(t, feature(r)))}`);
  onChange(showFlow);
  onChange(showShares);
}
