// The weather: an LSTM forecasts the temperature of the next 24 hours from those before, and a gate gets stuck.

const AHEAD = 24; // hours of a forecast
const WEEK = 168; // hours that the network reads before it
const SHOWN = 72; // hours of them in the picture
const EVERY = 22; // hours between the moments that errors are the mean of
const LARGE = 100; // a bias that shuts or opens a gate for good

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

scene("series", {
  async build({ root, words, kit, engine }) {
    const net = new Forecaster(await engine.cell("lstm"), await engine.weights("weather"));
    const degrees = (x) => `${kit.number(x, 2)}\u00a0°C`;
    const gap = (count) => Array(count).fill(NaN);
    const state = { now: clearest(net), fault: null };
    const found = {}; // what follows from the state
    kit.kept.fault ??= Math.floor(Math.random() * FAULTS.length);
    const broken = FAULTS[kit.kept.fault];

    const time = (now) =>
      new Date(net.first + now * 3600e3).toLocaleString(document.documentElement.lang, {
        timeZone: "UTC", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
      });
    const known = () => Array.from(net.series.subarray(state.now - SHOWN + 1, state.now + 1));
    const ahead = (values) => [...gap(SHOWN - 1), net.series[state.now], ...values];
    const around = () => {
      const all = [...known(), ...net.after(state.now), ...found.whole, ...(found.held ?? []), ...found.broken];
      return [Math.floor(Math.min(...all)) - 1, Math.ceil(Math.max(...all)) + 1];
    };

    // The forecast.
    const measured = () => [
      { name: words("measured"), colour: "ink", values: [...known(), ...gap(AHEAD)] },
      { name: words("came"), colour: "soft", values: ahead(net.after(state.now)), dash: [2, 4] },
      { name: words("forecast"), colour: "state", values: ahead(found.whole), wide: 3 },
    ];
    const first = kit.chart({
      label: () => words("label", { now: time(state.now), error: degrees(apart(found.whole, net.after(state.now))) }),
      height: 260, first: 1 - SHOWN, across: words("across"), cursor: () => SHOWN - 1, range: around,
      lines: () => measured(),
    });
    const moment = kit.slider({
      label: words("moment"), min: WEEK - 1, max: net.last, step: 1, value: state.now, shown: time,
      on: (now) => ((state.now = now), follow()),
    });
    const how = kit.said();

    // What it keeps of yesterday.
    const bars = kit.chart({
      label: () => words("kept_label", { share: percent(found.older) }),
      height: 190, first: 1 - SHOWN, across: words("across"), range: () => [0, Math.max(...found.influence)], legend: false,
      lines: () => [{ name: words("kept_line"), colour: "data", values: found.influence.slice(-SHOWN) }],
    });
    const kept = kit.said();
    const percent = (share) => `${kit.number(100 * share, 2)}\u00a0%`;
    const older = meanOf(net.moments.filter((_, k) => k % 6 === 0).map((now) => shareOfOlder(net.influence(now))));
    const shares = [0, 0.05, 0.25, 0.5, 1];
    const revealed = kit.stack(kit.text("kept_text"), bars.element, kept);
    const guess = kit.question({
      ask: words("ask"),
      choices: [0, 1, 2, 3].map((k) => words(`share_${k}`)),
      right: () => shares.findIndex((share) => older < share) - 1,
      said: () => words("ask_said", { older: percent(older), newer: percent(1 - older) }),
      hides: [revealed],
    });

    // A gate gets stuck.
    const gates = { "": words("none"), f: words("gate_f"), i: words("gate_i"), o: words("gate_o") };
    const gate = kit.choice({
      label: words("gate"), value: "", choices: Object.entries(gates).map(([value, text]) => ({ value, text })), on: () => hold(),
    });
    const hours = (count) => words("hours", { count });
    const value = kit.slider({ label: words("value"), min: 0, max: 1, step: 0.05, value: 0, shown: (x) => kit.number(x, 2), on: () => hold() });
    const from = kit.slider({ label: words("from"), min: 1, max: SHOWN, step: 1, value: 12, shown: (x) => words("before", { count: x }), on: () => hold() });
    const span = kit.slider({ label: words("span"), min: 1, max: SHOWN, step: 1, value: 12, shown: hours, on: () => hold() });
    const second = kit.chart({
      label: () => words("held_label", { without: degrees(apart(found.whole, net.after(state.now))), with: degrees(apart(found.held ?? found.whole, net.after(state.now))) }),
      height: 240, first: 1 - SHOWN, across: words("across"), cursor: () => SHOWN - 1, range: around,
      lines: () => [
        ...measured(),
        ...(shows.value ? [{ name: words("broken_line"), colour: "bad", values: ahead(found.broken), wide: 3, dash: [7, 5] }] : []),
        ...(found.held ? [{ name: words("with_held"), colour: "speak", values: ahead(found.held), wide: 2 }] : []),
      ],
    });
    const third = kit.chart({
      label: words("gate_label"), height: 130, first: 1 - SHOWN, across: words("across"), cursor: () => SHOWN - 1, range: [0, 1],
      lines: () => [
        { name: words("gate_mean", { gate: `$${state.fault?.gate ?? "f"}$` }), colour: "forget", values: [...found.gate.slice(-SHOWN), ...gap(AHEAD)] },
      ],
    });
    const costs = kit.said();

    // What broke?
    const shows = kit.toggle({ label: words("show"), on: () => second.redraw() });
    const nearest = () => {
      const distances = FAULTS.map((fault) => apart(net.read([state.now], fault).forecasts[0], found.broken));
      return distances.indexOf(Math.min(...distances));
    };
    const check = kit.check({
      ask: words("check"),
      choices: FAULTS.map(({ gate: name, value: at }) => words(`fault_${name}${at}`)),
      right: nearest,
      said: (answer, isRight) => {
        const { gate: name, value: at } = FAULTS[answer];
        if (isRight) return words("check_right", { without: degrees(net.error()), with: degrees(net.error(broken)), count: net.moments.length, why: words(`why_${name}${at}`) });
        return words("check_wrong", { apart: degrees(apart(net.read([state.now], FAULTS[answer]).forecasts[0], found.broken)) });
      },
    });

    const follow = () => {
      found.whole = net.read([state.now]).forecasts[0];
      found.broken = net.read([state.now], broken).forecasts[0];
      found.influence = net.influence(state.now);
      found.older = shareOfOlder(found.influence);
      how.say(words("error", { error: degrees(apart(found.whole, net.after(state.now))), all: degrees(net.error()), count: net.moments.length, naive: degrees(meanOf(net.moments.map((now) => apart(net.after(now - AHEAD), net.after(now))))) }));
      kept.say(words("kept_said", { share: percent(found.older), peak: kit.number(Math.max(...found.influence), 2) }));
      hold();
    };
    const hold = () => {
      state.fault = gate.value ? { gate: gate.value, value: value.value, from: from.value, hours: Math.min(span.value, from.value) } : null;
      const run = net.read([state.now], state.fault, ["f", "i", "o"]);
      found.held = state.fault ? run.forecasts[0] : null;
      found.gate = run.means[state.fault?.gate ?? "f"];
      const after = net.after(state.now);
      costs.say(
        state.fault
          ? words("costs", { without: degrees(apart(found.whole, after)), with: degrees(apart(found.held, after)), all: degrees(net.error()), all_with: degrees(net.error(state.fault)), count: net.moments.length })
          : words("costs_none"),
      );
      [first, bars, second, third].forEach((view) => view.redraw());
    };

    root.append(
      kit.text("lead"),
      kit.card(kit.stack(first.element, moment, how)),
      guess,
      revealed,
      kit.heading(words("stuck")),
      kit.text("stuck_text"),
      kit.card(kit.stack(gate, kit.row(value, from, span), second.element, third.element, costs, shows)),
      kit.heading(words("broke")),
      kit.text("broke_text"),
      check,
      kit.formula(["$f$ = σ(W x + R h + b)", words("formula_held"), "$c$ = $f$ · $c_$ + $i$ · $g$", "$h$ = $o$ · tanh($c$)", words("formula")]),
      kit.numbers({
        columns: [words("hour"), words("came"), words("forecast"), words("with_held")],
        rows: () => net.after(state.now).map((came, k) => [`+${k + 1}`, came, found.whole[k], found.held ? found.held[k] : NaN]),
      }),
    );
    follow();
    return { redraw() {} };
  },
});
