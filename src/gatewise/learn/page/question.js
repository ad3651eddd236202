// Questions: predict first, then see.

/**
 * A question. Options:
 *   ask       the question
 *   choices   texts to choose from; or number: { tolerance, unit } for a number to type
 *   right     () => the right answer: the place of a choice, a list of such places, or a number. Without it every
 *             answer is a guess that nobody marks
 *   said      (answer, isRight) => what the page says then
 *   hides     elements that are shown only after an answer
 *   then      (answer, isRight) => ...: after an answer, also one of before a change of language
 *   again     whether a wrong answer may be mended
 * Returns the element; it has `answered`.
 */
function question(kit, { ask, choices, number: wanted, right, said, hides = [], then = () => {}, again = false, check = false }) {
  const hidden = [hides].flat();
  hidden.forEach((part) => (part.hidden = true));
  const field = choices ? choiceOf(choices) : numberOf(ask, wanted);
  const verdict = element("p", { class: "verdict", role: "status" });
  const button = element("button", { type: "submit", class: "main" }, textOf("kit", "answer"));
  const whole = element("form", { class: check ? "question check" : "question" },
    element("fieldset", {},
      element("legend", {}, element("span", { class: "kind" }, textOf("kit", check ? "check" : right ? "predict" : "guess")), rich(ask)),
      field.element, button),
    verdict);
  const take = (answer) => {
    const isRight = right ? marked(answer, right(), wanted) : null;
    Object.assign(whole, { answered: true, right: isRight });
    const words = said?.(answer, isRight) ?? "";
    const mark = isRight === null ? "" : textOf("kit", isRight ? "right" : "wrong");
    verdict.className = `verdict ${isRight === null ? "" : isRight ? "right" : "wrong"}`;
    verdict.replaceChildren(mark ? element("strong", {}, mark, " ") : "", rich(words));
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
    keep(answer);
    take(answer);
    noteAnswer(kit.id, keep.place, { ask: plain(ask), answer: choices ? plain(choices[answer]) : answer, right: whole.right });
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

function numberOf(ask, { unit = "" }) {
  const input = element("input", { type: "text", inputmode: "decimal", size: 8, autocomplete: "off", "aria-label": plain(ask) });
  return {
    element: element("div", { class: "typed" }, input, unit),
    answer() {
      const text = input.value.trim().replace(",", ".").replace(/[\u2212\u2013]/, "-");
      return text === "" || !Number.isFinite(Number(text)) ? null : Number(text);
    },
    put: (answer) => (input.value = String(answer)),
    close: () => (input.disabled = true),
  };
}
