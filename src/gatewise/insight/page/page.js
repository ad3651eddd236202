// The page comes together.

function facts() {
  const cells = [...new Set(layers.map((layer) => layer.equations))].join(", ");
  const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  const units = [...new Set(layers.map((layer) => layer.width_all))].join(", ");
  byId("facts").textContent = `${plural(layers.length, "layer")} of ${cells}, ${units} units; ${plural(page.rows, "row")}, ${plural(page.steps, "step")}.`;
  byId("notes").hidden = !page.notes.length;
  byId("notes").append(...page.notes.map((note) => element("li", {}, note)));
}

function sentences() {
  byId("sentences").append(
    ...page.findings.map(({ text, layer, unit, row, step }) => {
      const item = element("li", {}, element("span", {}, text));
      const shown = layers.find(({ name: called }) => called === layer);
      const place = shown && unit !== null ? shown.place(unit) : -1;
      if (place < 0 && step === null) return item;
      const button = element("button", { type: "button", class: "link", "aria-label": `Show: ${text}` }, "Show");
      button.addEventListener("click", () => {
        const changes = { layer: shown ?? view.layer };
        if (place >= 0) changes.unit = place;
        if (row !== null) changes.row = row;
        choose(changes);
        if (step !== null) choose({ step: step - page.first });
        byId("step").scrollIntoView();
      });
      item.append(" ", button);
      return item;
    }),
  );
}

/** The equations of the chosen layer, and what each value is for. */
function showEquations() {
  const { layer } = view;
  for (const block of document.querySelectorAll(".equations")) block.hidden = block.dataset.cell !== layer.equations;
  const roles = layer.values.flatMap(({ name: called }) => [element("dt", {}, called), element("dd", {}, role(layer, called))]);
  byId("roles").replaceChildren(...roles);
}

facts();
sentences();
controls();
stepControls();
sequenceControls();
memoryControls();
inputControls();
onChange(showEquations);
choose({});
