// Puts the page together.

function facts() {
  const cells = [...new Set(layers.map((layer) => layer.equations))].join(", ");
  const units = [...new Set(layers.map((layer) => layer.width_all))].join(", ");
  byId("facts").textContent = `${counted(layers.length, "layer")} of ${cells}, ${units} units; ${counted(page.rows, "sequence")} of up to ${counted(page.steps, "step")}.`;
  byId("notes").hidden = !page.notes.length;
  byId("notes").append(...page.notes.map((note) => element("li", {}, note)));
}

/** Choose what a finding is about; false if it is about no one place. */
function go({ layer, unit, row, step }) {
  const shown = layers.find(({ name: called }) => called === layer) ?? view.layer;
  const place = unit === null ? -1 : shown.place(unit);
  if (place < 0 && step === null) return false;
  choose({ layer: shown, unit: place < 0 ? view.unit : place, row: row ?? view.row });
  if (step !== null) choose({ step: step - page.first });
  return true;
}

/** A finding in words, with a button that goes there. */
function told(finding, text = finding.text) {
  if (text.startsWith(`${finding.layer}: `)) text = titleOf(finding.layer) + text.slice(finding.layer.length);
  if (finding.unit === null && finding.step === null) return [text];
  const named = { type: "button", class: "link", "aria-label": `Show: ${text}` };
  const button = element("button", named, "Show");
  button.addEventListener("click", () => {
    if (go(finding)) byId("step").scrollIntoView();
  });
  return [text, " ", button];
}

function sentences() {
  byId("sentences").append(...page.findings.map((finding) => element("li", {}, ...told(finding))));
  const lead = page.findings.find(({ unit, step }) => unit !== null && step !== null);
  byId("lead").hidden = !lead;
  if (lead) byId("lead").append(...told(lead, lead.brief || lead.text));
}

/** Begin at the first place that there is something to say about. */
function start() {
  choose({});
  page.findings.some(go);
  const { layer, row } = view;
  if (view.step > 0 || !layer.kind?.ledger || !end(row)) return;
  const of = partsOf();
  choose({ step: range(0, end(row)).reduce((a, b) => (Math.abs(of(b)) > Math.abs(of(a)) ? b : a)) });
}

// How other texts write the same values.
const LETTERS = [
  { of: ["i", "f", "g", "o", "c"], words: "f is also written zᶠ, i as zⁱ, o as zᵒ; g is also called z or c̃; W x + R h is also written as one W times x and h put end to end." },
  { of: ["r", "z", "n"], words: "n is also called h′ or h̃, and some texts swap z and 1 − z." },
];

/** The equations of the chosen layer, and what each value is for. */
function showEquations() {
  const { layer } = view;
  for (const block of document.querySelectorAll(".equations")) block.hidden = block.dataset.cell !== layer.equations;
  const roles = layer.values.flatMap(({ name: called }) => [element("dt", {}, called), element("dd", {}, role(layer, called))]);
  byId("roles").replaceChildren(...roles);
  const names = new Set(layer.values.map(({ name: called }) => called));
  const letters = LETTERS.find(({ of }) => of.every((called) => names.has(called)));
  byId("letters").textContent = letters ? `Other texts: ${letters.words}` : "";
}

facts();
sentences();
controls();
stepControls();
sequenceControls();
memoryControls();
inputControls();
onChange(showEquations);
start();
runHere();
