// Questions: predict first, then see.

/**
 * A question. Options:
 *   ask       the question: a text, or a function that gives it
 *   choices   texts to choose from; or number: { tolerance, unit } for a number to type
 *   right     () => the right answer: the place of a choice, a list of such places, or a number. Without it every
 *             answer is a guess that nobody marks
 *   said      (answer, isRight) => what the page says then
 *   hides     elements that are shown only after an answer
 *   then      (answer, isRight) => ...: after an answer, also one of before a change of language
 *   again     whether a wrong answer may be mended
 *   renew     () => ...: after a wrong answer, draws new numbers; then the question is asked again with them
 * Returns the element; it has `answered`.
 */
function question(kit, { ask, choices, number: wanted, right, said, hides = [], then = () => {}, again = false, renew = null, check = false }) {
  const hidden = [hides].flat();
  hidden.forEach((part) => (part.hidden = true));
  const asked = () => (typeof ask === "function" ? ask() : ask);
  const field = choices ? choiceOf(choices) : numberOf(wanted);
  const verdict = element("p", { class: "verdict", role: "status" });
  const button = element("button", { type: "submit", class: "main" }, textOf("kit", "answer"));
  const legend = element("legend");
  const whole = element("form", { class: check ? "question check" : "question" },
    element("fieldset", {}, legend, field.element, button),
    verdict);
  const write = () => {
    legend.replaceChildren(element("span", { class: "kind" }, textOf("kit", check ? "check" : right ? "predict" : "guess")), rich(asked()));
    field.name?.(plain(asked()));
  };
  write();
  const take = (answer) => {
    const isRight = right ? marked(answer, right(), wanted) : null;
    Object.assign(whole, { answered: true, right: isRight });
    const words = said?.(answer, isRight) ?? "";
    const mark = isRight === null ? "" : textOf("kit", isRight ? "right" : "wrong");
    verdict.className = `verdict ${isRight === null ? "" : isRight ? "right" : "wrong"}`;
    verdict.replaceChildren(mark ? element("strong", {}, mark, " ") : "", rich(words));
    if (renew && isRight === false) {
      renew();
      field.put("");
      write();
    }
    if (!again || isRight) {
      field.close(isRight === false ? right() : null);
      button.hidden = true;
    }
    hidden.forEach((part) => (part.hidden = false));
    kit._redraw();
    if (check && isRight) kit._done();
    then(answer, isRight);
  };
  const keep = kit._keeps((answer) => {
    field.put(answer);
    take(answer);
  });
  whole.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = field.answer();
    if (answer === null) {
      verdict.className = "verdict";
      verdict.replaceChildren(textOf("kit", choices ? "choose" : "type"));
      return;
    }
    const about = { ask: plain(asked()), answer: choices ? plain(choices[answer]) : answer };
    take(answer);
    if (!renew || whole.right !== false) keep(answer); // else it answers a question that is gone
    noteAnswer(kit.id, keep.place, { ...about, right: whole.right });
  });
  return whole;
}

function marked(answer, right, wanted) {
  if (wanted) return Math.abs(answer - right) <= wanted.tolerance;
  return [right].flat().includes(answer);
}

function choiceOf(choices) {
  const group = unique("question");
  const inputs = choices.map((_, k) => element("input", { type: "radio", name: group, value: k }));
  const labels = inputs.map((input, k) => element("label", {}, input, element("span", {}, rich(choices[k]))));
  return {
    element: element("div", { class: "choices" }, labels),
    answer() {
      const place = inputs.findIndex((input) => input.checked);
      return place < 0 ? null : place;
    },
    put: (answer) => (inputs[answer].checked = true),
    close(right) {
      inputs.forEach((input, k) => {
        input.disabled = true;
        if (right !== null && [right].flat().includes(k)) labels[k].classList.add("was-right");
      });
    },
  };
}

/**
 * A goal: something that the learner sets up in the picture, and then has looked at. Options:
 *   ask       what to reach
 *   button    the text of the button
 *   reached   () => whether it is reached
 *   said      (reached) => what the page says then
 */
function goal(kit, { ask, button, reached, said }) {
  const verdict = element("p", { class: "verdict", role: "status" });
  const press = element("button", { type: "submit", class: "main" }, rich(button));
  const kind = element("span", { class: "kind" }, textOf("kit", "check"));
  const whole = element("form", { class: "question check" },
    element("fieldset", {}, element("legend", {}, kind, rich(ask)), press), verdict);
  const { place } = kit._keeps(() => {});
  whole.addEventListener("submit", (event) => {
    event.preventDefault();
    const isRight = reached();
    const words = said(isRight);
    verdict.className = `verdict ${isRight ? "right" : "wrong"}`;
    verdict.replaceChildren(element("strong", {}, textOf("kit", isRight ? "right" : "wrong"), " "), rich(words));
    if (isRight) kit._done();
    noteAnswer(kit.id, place, { ask: plain(ask), answer: plain(words), right: isRight });
  });
  return whole;
}

function numberOf({ unit = "" }) {
  const input = element("input", { type: "text", inputmode: "decimal", size: 8, autocomplete: "off" });
  return {
    name: (text) => input.setAttribute("aria-label", text),
    element: element("div", { class: "typed" }, input, unit),
    answer() {
      const text = input.value.normalize("NFKC").trim().replace(/[,\u3002]/, ".").replace(/[\u2212\u2013]/, "-");
      return text === "" || !Number.isFinite(Number(text)) ? null : Number(text);
    },
    put: (answer) => (input.value = String(answer)),
    close: () => (input.disabled = true),
  };
}
