// The weather: an LSTM forecasts the temperature of the next 24 hours from those before, and a gate gets stuck.

const AHEAD = 24; // hours of a forecast
const WEEK = 168; // hours that the network reads before it
const SHOWN = 72; // hours of them in the picture
const EVERY = 22; // hours between the moments that errors are the mean of
const LARGE = 100; // a bias that shuts or opens a gate for good

const SHARES = [0, 0.05, 0.25, 0.5, 1]; // the bounds of the answers to the first question

// What may be broken in the check, over the last 12 hours.
const FAULTS = [
  { gate: "f", value: 0 }, { gate: "f", value: 1 }, { gate: "i", value: 0 }, { gate: "i", value: 1 }, { gate: "o", value: 0 },
].map((fault) => ({ ...fault, from: 12, hours: 12 }));

/** The trained network, and the hours that it has never seen. */
class Forecaster {
  constructor(kernels, { about, tensors, shapes }) {
    this.units = shapes["readout.weight"][1];
    this.gates = about.gates.split(" ");
    this.first = Date.parse(`${about.first}Z`);
    [this.mean, this.deviation] = tensors.scale;
    this.series = tensors.series;
    this.weight = tensors["readout.weight"];
    this.bias = tensors["readout.bias"];
    this.layer = new gatewise.Layer(kernels, { inputSize: 1, hiddenSize: this.units });
    this.trained = Object.fromEntries(Object.keys(this.layer.weights).map((name) => [name, tensors[name]]));
    this.hold(null);
    this.moments = [];
    for (let now = WEEK - 1; now + AHEAD < this.series.length; now += EVERY) this.moments.push(now);
  }

  /** The last moment with 24 hours after it. */
  get last() {
    return this.series.length - AHEAD - 1;
  }

  /**
   * Hold a gate at a number: its weights become 0, so that only its bias is left. The gate is sigmoid(bias).
   * Without a fault all weights are the trained ones.
   */
  hold(fault) {
    for (const [name, numbers] of Object.entries(this.layer.weights)) {
      numbers.set(this.trained[name]);
      if (!fault) continue;
      const part = numbers.length / this.gates.length, place = this.gates.indexOf(fault.gate);
      const own = numbers.subarray(place * part, (place + 1) * part);
      const bias = Math.max(-LARGE, Math.min(LARGE, Math.log(fault.value / (1 - fault.value))));
      own.fill(name === "bias_ih" ? bias : 0);
    }
  }

  /** The week up to each moment, [WEEK, rows]. */
  input(moments) {
    const x = new Float32Array(WEEK * moments.length);
    moments.forEach((now, row) => {
      for (let t = 0; t < WEEK; t++) x[t * moments.length + row] = (this.series[now - WEEK + 1 + t] - this.mean) / this.deviation;
    });
    return x;
  }

  /** Read the week up to each moment, with a gate held for some hours: the forecasts in °C, and the gate's mean. */
  read(moments, fault = null, watch = []) {
    const x = this.input(moments), rows = moments.length;
    const start = fault ? Math.max(0, WEEK - fault.from) : WEEK, stop = fault ? Math.min(WEEK, start + fault.hours) : WEEK;
    const pieces = [[0, start, null], [start, stop, fault], [stop, WEEK, null]].filter(([from, to]) => to > from);
    let run = null;
    const means = Object.fromEntries(watch.map((name) => [name, []]));
    for (const [from, to, held] of pieces) {
      this.hold(held);
      run = this.layer.forward(x.subarray(from * rows, to * rows), { rows, states: run?.states, watch });
      for (const name of watch) {
        const values = run.values[name];
        for (let t = 0; t < to - from; t++) means[name].push(meanOf(values.subarray(t * rows * this.units, (t + 1) * rows * this.units)));
      }
    }
    this.hold(null);
    return { forecasts: moments.map((_, row) => this.forecast(run.states.h.subarray(row * this.units, (row + 1) * this.units))), means };
  }

  forecast(h) {
    return Array.from(this.bias, (bias, k) => {
      let sum = bias;
      for (let u = 0; u < this.units; u++) sum += this.weight[k * this.units + u] * h[u];
      return this.mean + this.deviation * sum;
    });
  }

  /** What came in the 24 hours after a moment. */
  after(now) {
    return Array.from(this.series.subarray(now + 1, now + 1 + AHEAD));
  }

  /** The mean error over all moments that the network has not seen. */
  error(fault = null) {
    const { forecasts } = this.read(this.moments, fault);
    return meanOf(forecasts.map((forecast, k) => apart(forecast, this.after(this.moments[k]))));
  }

  /** By how many degrees a forecast changes, on the mean over its 24 hours, if an hour before was one degree warmer. */
  influence(now) {
    const run = this.layer.forward(this.input(Array(AHEAD).fill(now)), { rows: AHEAD, keep: true });
    const { x } = run.backward({ states: { h: this.weight } }); // row k: the forecast of k + 1 hours ahead
    return Array.from({ length: WEEK }, (_, t) => meanOf(x.subarray(t * AHEAD, (t + 1) * AHEAD).map(Math.abs)));
  }
}

/** The moment at which the forecasts of the broken networks are farthest from each other. */
function clearest(net) {
  const all = FAULTS.map((fault) => net.read(net.moments, fault).forecasts);
  const least = net.moments.map((_, k) =>
    Math.min(...all.flatMap((one, n) => all.slice(n + 1).map((other) => apart(one[k], other[k])))),
  );
  return net.moments[least.indexOf(Math.max(...least))];
}

function meanOf(numbers) {
  return numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
}

/** The mean distance between two forecasts. */
function apart(a, b) {
  return meanOf(a.map((value, k) => Math.abs(value - b[k])));
}

/** The share of the influence of hours before the last 24. */
function shareOfOlder(influence) {
  const sum = (numbers) => numbers.reduce((total, x) => total + x, 0);
  return sum(influence.slice(0, WEEK - 24)) / sum(influence);
}

/** What the parts of the scene share: a moment, a gate that is held, and what follows from both. */
class Desk {
  constructor(kit, net, broken) {
    Object.assign(this, { kit, words: kit.words, net, broken, now: clearest(net), fault: null });
    this.error = net.error();
    this.naive = meanOf(net.moments.map((now) => apart(net.after(now - AHEAD), net.after(now))));
    this.across = { first: 1 - SHOWN, across: this.words("across") };
    this.follow();
  }

  /** Another moment. */
  follow() {
    const { net, now } = this;
    this.came = net.after(now);
    this.known = Array.from(net.series.subarray(now - SHOWN + 1, now + 1));
    this.whole = this.forecast(null);
    this.wrong = this.forecast(this.broken);
    this.influence = net.influence(now);
    this.hold(this.fault);
  }

  /** Another gate that is held, or none. */
  hold(fault) {
    const run = this.net.read([this.now], fault, ["f", "i", "o"]);
    this.fault = fault;
    this.held = fault ? run.forecasts[0] : null;
    this.gate = run.means[fault?.gate ?? "f"];
  }

  forecast(fault) {
    return this.net.read([this.now], fault).forecasts[0];
  }

  /** The error of a forecast, in words. */
  off(forecast) {
    return this.degrees(apart(forecast, this.came));
  }

  degrees(x) {
    return `${this.kit.number(x, 2)}\u00a0°C`;
  }

  percent(share) {
    return `${this.kit.number(100 * share, 2)}\u00a0%`;
  }

  time(now) {
    return new Date(this.net.first + now * 3600e3).toLocaleString(document.documentElement.lang, {
      timeZone: "UTC", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    });
  }

  /** A line from now on. */
  ahead(values) {
    return [...gap(SHOWN - 1), this.known.at(-1), ...values];
  }

  lines() {
    const { words } = this;
    return [
      { name: words("measured"), colour: "ink", values: [...this.known, ...gap(AHEAD)] },
      { name: words("came"), colour: "soft", values: this.ahead(this.came), dash: [2, 4] },
      { name: words("forecast"), colour: "state", values: this.ahead(this.whole), wide: 3 },
    ];
  }

  /** The range of all lines, so that it stays when one of them is switched on. */
  range() {
    const all = [...this.known, ...this.came, ...this.whole, ...(this.held ?? []), ...this.wrong];
    return [Math.floor(Math.min(...all)) - 1, Math.ceil(Math.max(...all)) + 1];
  }

  chart(options) {
    return this.kit.chart({ ...this.across, cursor: () => SHOWN - 1, range: () => this.range(), ...options });
  }
}

function gap(count) {
  return Array(count).fill(NaN);
}

/** The forecast at a moment that the learner chooses. */
function forecastOf(kit, desk, moved) {
  const { words, net } = desk;
  const picture = desk.chart({
    label: () => words("label", { now: desk.time(desk.now), error: desk.off(desk.whole) }), height: 260, lines: () => desk.lines(),
  });
  const moment = kit.slider({
    label: words("moment"), min: WEEK - 1, max: net.last, step: 1, value: desk.now, shown: (now) => desk.time(now),
    on: (now) => ((desk.now = now), moved()),
  });
  const error = kit.said();
  const show = () => {
    const all = { all: desk.degrees(desk.error), naive: desk.degrees(desk.naive), count: net.moments.length };
    error.say(words("error", { error: desk.off(desk.whole), ...all }));
    picture.redraw();
  };
  return { element: kit.card(kit.stack(picture.element, moment, error)), show };
}

/** What the network keeps of yesterday, after a guess. */
function keepingOf(kit, desk) {
  const { words, net } = desk;
  const picture = kit.chart({
    ...desk.across, height: 190, legend: false, range: () => [0, Math.max(...desk.influence)],
    label: () => words("kept_label", { share: desk.percent(shareOfOlder(desk.influence)) }),
    lines: () => [{ name: words("kept_line"), colour: "data", values: desk.influence.slice(-SHOWN) }],
  });
  const kept = kit.said();
  const revealed = kit.stack(kit.text("kept_text"), picture.element, kept);
  const older = meanOf(net.moments.filter((_, k) => k % 6 === 0).map((now) => shareOfOlder(net.influence(now))));
  const question = kit.question({
    ask: words("ask"),
    choices: SHARES.slice(1).map((_, k) => words(`share_${k}`)),
    right: () => SHARES.findIndex((share) => older < share) - 1,
    said: () => words("ask_said", { older: desk.percent(older), newer: desk.percent(1 - older) }),
    hides: [revealed],
  });
  const show = () => {
    const peak = kit.number(Math.max(...desk.influence), 2);
    kept.say(words("kept_said", { share: desk.percent(shareOfOlder(desk.influence)), peak }));
    picture.redraw();
  };
  return { elements: [question, revealed], show };
}

/** A gate that the learner holds at a number, for some hours. */
function stuckOf(kit, desk) {
  const { words, net } = desk;
  const changed = () => {
    desk.hold(gate.value ? { gate: gate.value, value: value.value, from: from.value, hours: Math.min(span.value, from.value) } : null);
    show();
  };
  const slider = (name, options) => kit.slider({ label: words(name), step: 1, min: 1, max: SHOWN, value: 12, on: changed, ...options });
  const gate = kit.choice({
    label: words("gate"), value: "", on: changed,
    choices: [{ value: "", text: words("none") }, ...["f", "i", "o"].map((name) => ({ value: name, text: words(`gate_${name}`) }))],
  });
  const value = slider("value", { min: 0, max: 1, step: 0.05, value: 0, shown: (x) => kit.number(x, 2) });
  const from = slider("from", { shown: (count) => words("before", { count }) });
  const span = slider("span", { shown: (count) => words("hours", { count }) });
  const shows = kit.toggle({ label: words("show"), on: () => picture.redraw() });
  const picture = desk.chart({
    label: () => words("held_label", { without: desk.off(desk.whole), with: desk.off(desk.held ?? desk.whole) }), height: 240,
    lines: () => [
      ...desk.lines(),
      ...(shows.value ? [{ name: words("broken_line"), colour: "bad", values: desk.ahead(desk.wrong), wide: 3, dash: [7, 5] }] : []),
      ...(desk.held ? [{ name: words("with_held"), colour: "speak", values: desk.ahead(desk.held), wide: 2 }] : []),
    ],
  });
  const strip = desk.chart({
    label: words("gate_label"), height: 130, range: [0, 1],
    lines: () => [{
      name: words("gate_mean", { gate: `$${desk.fault?.gate ?? "f"}$` }), colour: "forget", values: [...desk.gate.slice(-SHOWN), ...gap(AHEAD)],
    }],
  });
  const costs = kit.said();
  const show = () => {
    const all = () => ({ all: desk.degrees(desk.error), all_with: desk.degrees(net.error(desk.fault)), count: net.moments.length });
    costs.say(desk.fault ? words("costs", { without: desk.off(desk.whole), with: desk.off(desk.held), ...all() }) : words("costs_none"));
    [picture, strip].forEach((view) => view.redraw());
  };
  return { element: kit.card(kit.stack(gate, kit.row(value, from, span), picture.element, strip.element, costs, shows)), show };
}

/** What broke? The answer is the fault whose forecast lies nearest to the broken one. */
function checkOf(kit, desk) {
  const { words, net } = desk;
  const away = (fault) => apart(desk.forecast(fault), desk.wrong);
  return kit.check({
    ask: words("check"),
    choices: FAULTS.map(({ gate, value }) => words(`fault_${gate}${value}`)),
    right: () => FAULTS.map(away).reduce((least, distance, k, all) => (distance < all[least] ? k : least), 0),
    said: (answer, isRight) => {
      const { gate, value } = FAULTS[answer];
      if (!isRight) return words("check_wrong", { apart: desk.degrees(away(FAULTS[answer])) });
      return words("check_right", {
        without: desk.degrees(desk.error), with: desk.degrees(net.error(desk.broken)), count: net.moments.length,
        why: words(`why_${gate}${value}`),
      });
    },
  });
}

scene("series", {
  async build({ root, words, kit, engine }) {
    const net = new Forecaster(await engine.cell("lstm"), await engine.weights("weather"));
    kit.kept.fault ??= Math.floor(Math.random() * FAULTS.length);
    const desk = new Desk(kit, net, FAULTS[kit.kept.fault]);
    const show = () => [forecast, keeping, stuck].forEach((part) => part.show());
    const forecast = forecastOf(kit, desk, () => (desk.follow(), show()));
    const [keeping, stuck] = [keepingOf(kit, desk), stuckOf(kit, desk)];
    root.append(
      kit.text("lead"),
      forecast.element,
      ...keeping.elements,
      kit.heading(words("stuck")),
      kit.text("stuck_text"),
      stuck.element,
      kit.heading(words("broke")),
      kit.text("broke_text"),
      checkOf(kit, desk),
      kit.formula([
        "$f$ = σ(W x + R h + b)", words("formula_held"), "$c$ = $f$ · $c_$ + $i$ · $g$", "$h$ = $o$ · tanh($c$)", words("formula"),
      ]),
      kit.numbers({
        columns: [words("hour"), words("came"), words("forecast"), words("with_held")],
        rows: () => desk.came.map((came, k) => [`+${k + 1}`, came, desk.whole[k], desk.held ? desk.held[k] : NaN]),
      }),
    );
    show();
    return {};
  },
});
