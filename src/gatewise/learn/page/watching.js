// Training that the learner watches: buttons, the losses as lines, and what is said while it goes on.

const SLICE = 10; // milliseconds of training in a frame
const SMOOTH = 20; // losses in a mean, so that a line does not tremble

/** A trainer with its name and colour, and the losses as they are drawn. */
class Runner {
  constructor(name, colour, trainer) {
    Object.assign(this, { name, colour, trainer, line: [] });
  }

  get count() {
    return this.trainer.losses.length;
  }

  /** Back to the first weights. */
  rewind() {
    this.trainer.rewind();
    this.line = [];
  }

  /** Train on sequences of another length, from the first weights. */
  lengthen(steps) {
    this.trainer.lengthen(steps);
    this.line = [];
  }

  /** The means of the last losses, for each iteration. */
  get smooth() {
    const { losses } = this.trainer;
    for (let n = this.line.length; n < losses.length; n++) {
      const last = losses.slice(Math.max(0, n + 1 - SMOOTH), n + 1);
      this.line.push(last.reduce((all, loss) => all + loss, 0) / last.length);
    }
    return this.line;
  }

  /** The iteration after which the task was solved; null if it is not. */
  get solvedAfter() {
    return this.trainer.solved ? this.count : null;
  }
}

/**
 * Buttons that train, and a chart of the losses. Options:
 *   runners   () => the runners, which train in turns
 *   most      iterations of each, at most
 *   done      (trainer) => whether it needs no more; by default, whether its task is solved
 *   said      the sentence that says how far they are; it is read aloud when they stop, not at each frame
 *   on        (): something changed; also called when they stop
 *   height    of the chart
 * Returns { element, chart, stop, redraw, running }.
 */
function watched(kit, { runners, most, done, said, on = () => {}, height = 230 }) {
  const say = (key, values) => textOf("kit", key, values);
  const trainers = () => runners().map(({ trainer }) => trainer);
  const chart = kit.chart({
    label: () => say("losses_label", { all: runners().map((one) => `${one.name}: ${number(one.smooth.at(-1) ?? NaN)}`).join("; ") }),
    across: say("iterations"),
    height,
    log: true,
    range: () => lossRange(runners()),
    lines: () => lossLines(runners(), say("guessing")),
  });
  const changed = () => {
    chart.redraw();
    write();
    on();
  };
  const step = (milliseconds) => training.turns(trainers(), { most, milliseconds, done });
  const over = () => trainers().every((trainer) => training.isOver(trainer, most, done));
  const loop = kit.loop(
    () => {
      const more = step(SLICE);
      if (more) changed();
      return more;
    },
    () => changed(),
  );
  const start = kit.button({ label: say("start"), main: true, on: () => (loop.running ? loop.stop() : loop.start(), write()) });
  const single = kit.button({
    label: say("single"),
    on: () => {
      loop.stop();
      step(0);
      changed();
    },
  });
  const rewind = kit.button({
    label: say("rewind"),
    on: () => {
      loop.stop();
      runners().forEach((one) => one.rewind());
      changed();
    },
  });
  const write = () => {
    start.replaceChildren(say(loop.running ? "stop" : "start"));
    said.setAttribute("aria-live", loop.running ? "off" : "polite");
    start.disabled = single.disabled = over();
    rewind.disabled = runners().every((one) => one.count === 0);
  };
  const buttons = kit.row(start, single, rewind);
  write();
  return {
    element: kit.stack(buttons, element("p", { class: "where" }, say("loss")), chart.element),
    chart,
    stop: () => loop.stop(),
    redraw: () => (chart.redraw(), write()),
    get running() {
      return loop.running;
    },
  };
}

/** How far a network is, in words: the texts state_ready, state_on, state_solved and state_failed of a scene. */
function stateOf(words, one, most) {
  const { count, trainer } = one;
  if (trainer.solved) return words("state_solved", { count });
  if (!Number.isFinite(trainer.losses.at(-1) ?? 0)) return textOf("kit", "no_number", { count });
  if (training.isOver(trainer, most)) return words("state_failed", { count });
  return count ? words("state_on", { count }) : words("state_ready");
}

/** A table of results in sight: { element, write(rows) }; the first entry of a row is its head. */
function resultTable(caption, columns) {
  const body = element("tbody");
  const head = element("tr", {}, columns.map((column) => element("th", { scope: "col" }, column)));
  const table = element("table", {}, element("caption", {}, caption), element("thead", {}, head), body);
  const entry = (part, k) => element(k ? "td" : "th", k ? {} : { scope: "row" }, rich(String(part)));
  return {
    element: element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": textOf("kit", "results") }, table),
    write: (rows) => body.replaceChildren(...rows.map((row) => element("tr", {}, row.map(entry)))),
  };
}

/** A whole number, as it is read. */
function whole(count) {
  return count.toLocaleString("en");
}

/** Whole powers of ten around the losses. */
function lossRange(runners) {
  const lowest = Math.min(0.05, ...runners.flatMap(({ line }) => line).filter((loss) => loss > 0));
  return [10 ** Math.floor(Math.log10(lowest)), 1];
}

function lossLines(runners, guessing) {
  const lines = runners.map((one) => ({ name: one.name, colour: one.colour, values: one.smooth }));
  const longest = Math.max(2, ...lines.map(({ values }) => values.length));
  const guess = runners[0].trainer.guess;
  return [...lines, { name: guessing, colour: "soft", values: Array(longest).fill(guess), dash: [4, 4], wide: 1.5 }];
}

/**
 * A table of gates: units down, steps across, from dark (shut, 0) to bright (open, 1).
 *   values    () => [T, H] of one row, numbers from 0 to 1; null: there is none
 */
function gateMap(kit, { label, values, units, colour, height = 150 }) {
  return kit.canvas({
    label,
    height,
    draw(pen, width, tall) {
      const shown = values();
      if (!shown) return;
      const steps = shown.length / units;
      const [wide, high] = [width / steps, tall / units];
      for (let t = 0; t < steps; t++)
        for (let u = 0; u < units; u++) {
          pen.fillStyle = style("--empty");
          pen.fillRect(t * wide, u * high, Math.ceil(wide), Math.ceil(high));
          pen.globalAlpha = Math.max(0, Math.min(1, shown[t * units + u]));
          pen.fillStyle = style(`--${colour()}`);
          pen.fillRect(t * wide, u * high, Math.ceil(wide), Math.ceil(high));
          pen.globalAlpha = 1;
        }
    },
  });
}

/** One row of a batch: the values [T, H] of [T, B, H]. */
function rowOf(values, { row = 0, rows, units }) {
  const steps = values.length / rows / units;
  const one = new Float32Array(steps * units);
  for (let t = 0; t < steps; t++) one.set(values.subarray((t * rows + row) * units, (t * rows + row + 1) * units), t * units);
  return one;
}
