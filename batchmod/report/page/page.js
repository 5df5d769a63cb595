/* Shows a `batchmod.page/1` document. Everything that comes from it is text: nothing of it is ever taken for markup.
   `batchmod.load(document)` shows one; `batchmod.update({rows, run, history, state, advice})` shows what of it has changed. */
"use strict";
(() => {
  const OUTCOMES = ["changed", "unchanged", "skipped", "failed", "unresolved", "not_started"];
  const PROOFS = ["accepted", "settled", "read-back", "login", "login-and-old-refused"];
  const RANKS = { outcome: ["unresolved", "failed", "not_started", "skipped", "unchanged", "changed"], proof: PROOFS };
  const NUMBERS = new Set(["wave", "attempts", "seconds"]);
  const SELECTS = ["outcome", "change", "account", "region", "wave"];
  const ORDER = ["instance_id", "instance_name", "region", "account", "change", "wave", "outcome", "proof", "attempts",
    "seconds", "error_code", "detail", "error_message", "login", "started_at", "finished_at", "request_id", "secret_ref",
    "account_id"];
  const PROSE = new Set(["detail", "error_message"]);
  const MINOR = new Set(["login", "started_at", "finished_at", "request_id", "secret_ref", "account_id", "attempts"]);
  const PAGE_ROWS = 100;
  const BY_LOOK = { changed: 0, failed: 1, unresolved: 2 };
  const SURE = {
    "accepted": "accepted by the service, and not looked at",
    "settled": "accepted, and the instance then seen Normal",
    "read-back": "read back from the instance",
    "login": "proved by logging in",
    "login-and-old-refused": "proved by logging in, the old password refused",
  };
  const STOPPED = {
    signal: "a signal", control: "an operator", window: "the end of the window", max_failures: "the failure budget",
    check: "a check between two waves", manual: "the pause between two waves", store: "a journal or store that could not be written",
  };
  // What cannot be seen, or moves what is around it, is shown as an escape.
  const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/u;
  const EACH_UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;
  const NAMED = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };
  const SVG = "http://www.w3.org/2000/svg";

  const by = (id) => document.getElementById(id);
  const whole = new Intl.NumberFormat("en");
  const count = (number) => whole.format(number);
  const rowsOf = (number) => `${count(number)} ${number === 1 ? "row" : "rows"}`;

  let doc = null; // the document that is shown
  let at = {}; // column name → place in a row
  let haystacks = []; // what the text filter looks through, made when it is needed
  let choices = {}; // of each select: the values that there are
  let filter = {}; // column → the value that a row must have
  let words = []; // each must occur in a row
  let sort = null; // {column, down}, or the order of the plan
  let order = new Uint32Array(0); // places of all rows, as they are sorted
  let matches = new Uint32Array(0); // those of them that the filters let through
  let page = 0; // from 0
  let due = 0; // the animation frame in which it is drawn again
  const stale = new Set(); // what is drawn then

  // ---- small things ----

  function visible(text) {
    if (!UNSEEN.test(text)) return text;
    return text.replace(EACH_UNSEEN, (char) => {
      const number = char.codePointAt(0);
      return char in NAMED ? NAMED[char] : number < 256 ? `\\x${hex(number, 2)}` : number < 65536 ? `\\u${hex(number, 4)}` : `\\U${hex(number, 8)}`;
    });
  }

  const hex = (number, digits) => number.toString(16).padStart(digits, "0");

  function element(name, properties = {}, ...inside) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...inside);
    return made;
  }

  function drawn(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /* What stands between backquotes is code. */
  function prose(text) {
    return visible(text).split("`").map((part, place) => (place % 2 ? element("code", { textContent: part }) : part));
  }

  /* The words of a period: 0.42 s, 12.3 s, 3 min 05 s, 2 h 04 min. */
  function period(seconds) {
    if (Math.abs(seconds) < 60) return `${seconds.toFixed(Math.abs(seconds) < 10 ? 2 : 1)} s`;
    const all = Math.round(seconds);
    const minutes = Math.floor(all / 60);
    if (minutes < 60) return `${minutes} min ${String(all % 60).padStart(2, "0")} s`;
    return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  }

  const spanWords = (seconds) => seconds < 60 ? `${seconds} s` : period(seconds);
  const clock = (moment) => moment.replace("T", " ").replace(/(\.\d+)?Z$/, "");
  const listed = (parts) => parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
  const facts = (pairs) => pairs.map(([name, ...told]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", {}, ...told)));

  function counted(name) {
    const found = new Map();
    const place = at[name];
    for (const row of doc.rows) found.set(row[place], (found.get(row[place]) ?? 0) + 1);
    return found;
  }

  // ---- what happened, and how sure that is ----

  /* {tone, badge, title, sure}: in words, from the run, its counts and its proofs. */
  function headline(run, counts, proofs, state) {
    const all = doc.rows.length;
    if (state?.phase === "planning") return { tone: "open", badge: "planning", title: "The plan is being made.", sure: "Nothing was sent." };
    if (state && state.phase !== "ended") {
      const open = doc.live?.phases ? doc.live.phases.filter((phase) => !OUTCOMES.includes(phase)).length : counts.not_started;
      return { tone: "open", badge: state.phase, title: `${count(all - open)} of ${count(all)} rows have ended.`, sure: sureness({ ...counts, unresolved: counts.unresolved + state.in_doubt }, proofs) };
    }
    const [tone, badge, title] = run.command === "run" ? verdict(run, counts, all) : examined(run, counts, all);
    return { tone, badge, title, sure: run.command === "run" ? sureness(counts, proofs) : examinedSureness(counts) };
  }

  function verdict(run, counts, all) {
    const { unresolved, failed, changed, unchanged, skipped, not_started } = counts;
    const left = tally([not_started, "not started"], [unresolved, "in doubt"], [failed, "failed"]);
    if (run.given_up && (not_started || unresolved)) return ["doubt", "given up", `This run was given up: ${left}.`];
    if (run.exit_code === 3 || (run.stopped_by && (not_started || unresolved))) {
      const why = run.stopped_by ? `Stopped by ${STOPPED[run.stopped_by] ?? visible(run.stopped_by)}` : "Not at its end";
      return ["doubt", "stopped", `${why}: ${not_started || unresolved ? left : "every row has ended, and what comes after the rows is still to be done"}.`];
    }
    if (run.finished_at === null) return ["open", "not ended", `This run has not ended: ${left || "every row has its outcome"}.`];
    if (unresolved) return ["doubt", "unresolved", `${count(unresolved)} of ${rowsOf(all)} may or may not have been changed${failed ? `; ${count(failed)} failed` : ""}.`];
    if (failed) return ["bad", "failed", `${count(failed)} of ${rowsOf(all)} failed; nothing was changed there.`];
    const done = tally([changed, "changed and proved"], [unchanged, "so already"], [skipped, "skipped"], [not_started, "not started"]);
    if (run.accounts_failed.length) return ["bad", "account stopped", not_started ? `${rowsOf(not_started)} not started: ${accounts(run)} stopped.` : `${leftOut(run)}${done ? `: ${done}` : ""}.`];
    if (!all) return ["good", "done", "There was nothing to do: no rows."];
    if (changed === all) return ["good", "done", `${all === 1 ? "The one row is" : `All ${count(all)} rows are`} changed and proved.`];
    if (unchanged === all) return ["good", "done", "Everything was so already; nothing was sent."];
    return ["good", "done", `${done}.`];
  }

  const accounts = (run) => run.accounts_failed.length === 1 ? "an account was" : "accounts were";
  const leftOut = (run) => `${accounts(run).replace("a", "A")} left out`;

  /* `3 rows changed, 2 so already and 1 skipped`, without what there is none of. */
  const tally = (...parts) => listed(parts.filter(([number]) => number).map(([number, what], place) => `${place ? count(number) : rowsOf(number)} ${what}`));

  function sureness(counts, proofs) {
    const found = [...PROOFS].reverse().filter((proof) => proofs.get(proof));
    const parts = [];
    if (found.length === 1) parts.push(`${counts.changed === 1 ? "The changed row was" : `All ${count(counts.changed)} changed rows were`} ${SURE[found[0]]}.`);
    if (found.length > 1) parts.push(`Of ${count(counts.changed)} changed rows ${listed(found.map((proof) => `${count(proofs.get(proof))} were ${SURE[proof]}`))}.`);
    parts.push(counts.unresolved
      ? `${rowsOf(counts.unresolved)} in doubt; every password that may be live is in the secret store.`
      : "Nothing is in doubt.");
    return parts.join(" ");
  }

  function examined(run, counts, all) {
    const { failed, unresolved, not_started, changed, unchanged, skipped } = counts;
    if (failed) return ["bad", "failed", `Of ${count(failed)} of ${count(all)} instances the stored password is refused, or the instance is gone.`];
    if (unresolved || not_started) return ["doubt", "unresolved", `Of ${count(unresolved + not_started)} of ${count(all)} instances no stored password is proved live.`];
    const told = listed([unchanged && `${count(unchanged)} proved live`, changed && `${count(changed)} made current`, skipped && `${count(skipped)} without a stored password`].filter(Boolean));
    if (run.accounts_failed.length) return ["doubt", "account stopped", `${leftOut(run)}.${told ? ` Stored passwords of the others: ${told}.` : ""}`];
    return ["good", "done", all ? `Stored passwords: ${told}.` : "There was nothing to look at."];
  }

  const examinedSureness = (counts) => counts.changed + counts.unchanged
    ? `${count(counts.changed + counts.unchanged)} logged in with; a wrong password was refused each time.` : "";

  function drawHead() {
    const { run, live } = doc;
    const state = live?.state;
    const { tone, badge, title, sure } = headline(run, run.counts, counted("proof"), state);
    by("badge").className = `badge ${tone}`;
    by("badge").textContent = badge;
    by("headline").textContent = title;
    by("sureness").textContent = sure;
    const notes = run.accounts_failed.map((one) => [`account ${visible(one.account)} stopped: ${visible(one.reason)}`]);
    notes.push(...run.consumers_failed.map((one) => [`wave ${one.wave}: ${visible(one.text)}`]));
    notes.push(...run.notifiers_failed.map((one) => [`notification ${one.notify} ${visible(one.reason)}`]));
    if (run.exit_code === 3 && run.command === "run" && !run.given_up) {
      const more = run.stopped_by === "max_failures" ? " --reset-budget" : "";
      notes.push(["to go on: ", element("code", { textContent: `batchmod resume ${visible(run.id)}${more}` })]);
    }
    by("notes").replaceChildren(...notes.map((told) => element("li", {}, ...told)));
    by("facts").replaceChildren(...facts(headFacts(run)));
  }

  function headFacts(run) {
    const told = [["command", run.command], ["started", clock(run.started_at)]];
    if (run.finished_at !== null) {
      told.push(["ended", clock(run.finished_at)]);
      told.push(["took", period((Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000)]);
    }
    told.push(["exit code", run.exit_code === null ? "none yet" : String(run.exit_code)]);
    if (run.max_failures !== null) told.push(["failure budget", rowsOf(run.max_failures)]);
    told.push(["manifest", element("code", { title: run.manifest_digest, textContent: visible(run.manifest_digest.slice(0, 16)) })]);
    return told;
  }

  // ---- a run that is going on ----

  function drawLive() {
    const state = doc.live?.state;
    by("live").hidden = !state;
    if (!state) return;
    const told = [["now", state.paused ? `${state.phase}, paused` : state.phase], ["calls per second", count(state.calls_per_second)],
      ["throttled", count(state.throttled)], ["in change", count(state.in_change)], ["in doubt", count(state.in_doubt)],
      ["waiting", count(state.waiting)], ["to come", count(state.to_come)]];
    if (state.budget) told.push(["budget used", `${count(state.budget.used)} of ${count(state.budget.limit)}`]);
    if (state.wave) told.push(["wave", `${state.wave.wave} of ${state.wave.waves}, ${count(state.wave.instances)} instances`]);
    if (state.at) told.push(["as of", clock(state.at)]);
    by("live").replaceChildren(element("dl", { className: "facts" }, ...facts(told)));
  }

  // ---- outcomes ----

  function makeCounts() {
    by("counts").replaceChildren(...OUTCOMES.map((outcome) => {
      const made = element("button", { type: "button", className: `count ${outcome}` }, element("b"), element("span", { textContent: outcome.replace("_", " ") }));
      made.dataset.outcome = outcome;
      made.addEventListener("click", () => choose("outcome", filter.outcome === outcome ? undefined : outcome));
      return made;
    }));
  }

  function drawCounts() {
    for (const button of by("counts").children) {
      const { outcome } = button.dataset;
      button.firstChild.textContent = count(doc.run.counts[outcome]);
      button.classList.toggle("none", !doc.run.counts[outcome]);
      button.setAttribute("aria-pressed", String(filter.outcome === outcome));
    }
  }

  // ---- what happened when ----

  const STACK = ["changed", "failed", "unresolved"];
  const HELD = ["throttled", "busy", "not_sent", "lost"];
  const SERIES_WORDS = { sent: "calls sent", changed: "changed", failed: "failed", unresolved: "unresolved", throttled: "refused by quota", busy: "instance busy", not_sent: "not sent: network", lost: "no answer" };

  function drawTimeline() {
    const history = doc.history;
    const spans = history ? history.series.sent.length : 0;
    by("timeline-card").hidden = !spans && !history?.told.length;
    if (by("timeline-card").hidden) return;
    const told = history.told.map((one, number) => ({ ...one, number: number + 1, seconds: (Date.parse(one.at) - Date.parse(history.begun)) / 1000 }));
    const shown = ["sent", ...STACK, ...HELD].filter((name) => history.series[name].some(Boolean));
    by("legend").replaceChildren(...shown.map((name) => element("span", {}, element("i", { className: name }), SERIES_WORDS[name])));
    by("timeline").replaceChildren(timeline(history, told, by("timeline").clientWidth || 900));
    by("told").replaceChildren(...told.map((one) => element("li", {},
      element("b", { textContent: one.number }), element("time", { dateTime: one.at, textContent: `+${period(Math.max(0, one.seconds))}` }), " ", visible(one.text))));
    if (by("spans").open) drawSpans();
  }

  /* Three panels over one axis of time: what ended, what was held back, what of the failure budget was used. */
  function timeline(history, told, width) {
    const { series, span_seconds: span } = history;
    const spans = series.sent.length;
    const long = Math.max(spans * span, ...told.map((one) => one.seconds), 1);
    const [left, right] = [44, width - 10];
    const x = (seconds) => left + (right - left) * Math.min(1, Math.max(0, seconds / long));
    const held = HELD.some((name) => series[name].some(Boolean));
    const budget = budgetSteps(history, told);
    const panels = [{ draw: endedPanel, high: 150 }];
    if (held) panels.push({ draw: heldPanel, high: 44 });
    if (budget) panels.push({ draw: (space) => budgetPanel(space, budget, doc.run.max_failures), high: 64 });
    const made = drawn("svg", { role: "img", "aria-label": `Over ${period(long)}: ${listed([...STACK, ...HELD].filter((name) => series[name].some(Boolean)).map((name) => `${count(sum(series[name]))} ${SERIES_WORDS[name]}`)) || "nothing was sent"}` });
    let top = 40; // below the numbers of what was told
    for (const { draw, high } of panels) {
      made.append(...draw({ series, span, spans, x, top, high, left, right }));
      top += high + 24;
    }
    made.append(...ticks(long, x, top - 4), ...events(told, x, top - 18), ...hits(history, x, top - 18));
    made.setAttribute("viewBox", `0 0 ${width} ${top + 4}`);
    return made;
  }

  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

  function endedPanel({ series, span, spans, x, top, high, left, right }) {
    let most = 1;
    for (let place = 0; place < spans; place++) most = Math.max(most, series.sent[place], sum(STACK.map((name) => series[name][place])));
    const y = (number) => top + high - (high * number) / most;
    const made = [...scale(`rows in each ${spanWords(span)}`, most, y, left, right), ...stacked(STACK, { series, span, spans, x }, y)];
    const line = series.sent.map((number, place) => `${place ? "L" : "M"}${x(place * span)},${y(number)}H${x((place + 1) * span)}`).join("");
    if (line) made.push(drawn("path", { class: "line sent", d: line }));
    return made;
  }

  function heldPanel({ series, span, spans, x, top, high, left, right }) {
    let most = 1;
    for (let place = 0; place < spans; place++) most = Math.max(most, sum(HELD.map((name) => series[name][place])));
    const y = (number) => top + high - (high * number) / most;
    return [...scale("calls held back", most, y, left, right), ...stacked(HELD, { series, span, spans, x }, y)];
  }

  /* Bars of each span, one series on top of the other. */
  function stacked(names, { series, span, spans, x }, y) {
    const made = [];
    for (let place = 0; place < spans; place++) {
      let under = 0;
      for (const name of names) {
        if (!series[name][place]) continue;
        const over = under + series[name][place];
        made.push(bar(name, x(place * span), x((place + 1) * span), y(over), y(under)));
        under = over;
      }
    }
    return made;
  }

  /* [seconds, used] whenever it changes; null when there is neither a budget nor anything that would use one. */
  function budgetSteps({ series, span_seconds: span }, told) {
    const resets = told.filter((one) => one.text === "failures from before forgiven").map((one) => one.seconds);
    const steps = [[0, 0]];
    let used = 0;
    for (let place = 0; place < series.sent.length; place++) {
      while (resets.length && resets[0] < (place + 1) * span) steps.push([resets.shift(), (used = 0)]);
      const more = series.failed[place] + series.unresolved[place];
      if (more) steps.push([place * span, (used += more)]);
    }
    return doc.run.max_failures === null && steps.length === 1 ? null : [...steps, [series.sent.length * span, used]];
  }

  function budgetPanel({ x, top, high, left, right }, steps, limit) {
    const most = Math.max(1, limit ?? 0, ...steps.map(([, used]) => used));
    const y = (number) => top + high - (high * number) / most;
    const path = steps.map(([seconds, used], place) => (place ? `H${x(seconds)}V${y(used)}` : `M${x(seconds)},${y(used)}`)).join("");
    const title = `failed and unresolved${limit === null ? "" : `, of a budget of ${count(limit)}`}`;
    const made = [...scale(title, most, y, left, right), drawn("path", { class: "line failed", d: path })];
    if (limit !== null) made.push(drawn("line", { class: "limit", x1: left, x2: right, y1: y(limit), y2: y(limit) }));
    return made;
  }

  function scale(title, most, y, left, right) {
    return [
      drawn("line", { class: "grid", x1: left, x2: right, y1: y(0), y2: y(0) }),
      drawn("line", { class: "grid", x1: left, x2: right, y1: y(most), y2: y(most) }),
      drawn("text", { x: left - 6, y: y(most) + 4, "text-anchor": "end" }, count(most)),
      drawn("text", { x: left - 6, y: y(0) + 4, "text-anchor": "end" }, "0"),
      drawn("text", { x: left, y: y(most) - 4 }, title),
    ];
  }

  function bar(name, from, to, top, bottom) {
    const wide = Math.max(1, to - from - (to - from > 4 ? 1 : 0));
    return drawn("rect", { class: `bar ${name}`, x: from, width: wide, y: top, height: Math.max(0.5, bottom - top) });
  }

  function ticks(long, x, y) {
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].find((one) => (x(one) - x(0)) >= 80) ?? long;
    const made = [];
    for (let seconds = 0; seconds <= long; seconds += step) {
      made.push(drawn("text", { x: x(seconds), y, "text-anchor": seconds ? "middle" : "start" }, step < 60 ? `${seconds} s` : step < 3600 ? `${seconds / 60} min` : `${seconds / 3600} h`));
    }
    return made;
  }

  function events(told, x, bottom) {
    const lines = told.map((one) => drawn("line", { class: "event", x1: x(one.seconds), x2: x(one.seconds), y1: 16, y2: bottom }));
    const groups = []; // of numbers that would hide each other
    for (const one of told) {
      if (groups.length && x(one.seconds) - x(groups.at(-1)[0].seconds) < 34) groups.at(-1).push(one);
      else groups.push([one]);
    }
    const pins = groups.map((group) => {
      const text = group.length > 1 ? `${group[0].number}–${group.at(-1).number}` : String(group[0].number);
      const wide = Math.max(16, 7 * text.length + 8);
      const middle = Math.max(x(0) - 20 + wide / 2, x(group[0].seconds));
      const pin = drawn("g", {});
      pin.append(drawn("rect", { class: "pin", x: middle - wide / 2, y: 1, width: wide, height: 16, rx: 8 }), drawn("text", { class: "number", x: middle, y: 12.5 }, text), drawn("title", {}, group.map((one) => visible(one.text)).join("\n")));
      return pin;
    });
    return [...lines, ...pins];
  }

  function hits({ series, span_seconds: span }, x, bottom) {
    return series.sent.map((_, place) => {
      const told = Object.keys(SERIES_WORDS).filter((name) => series[name][place]).map((name) => `${count(series[name][place])} ${SERIES_WORDS[name]}`);
      const made = drawn("rect", { class: "hit", x: x(place * span), width: Math.max(1, x((place + 1) * span) - x(place * span)), y: 18, height: bottom - 18 });
      made.append(drawn("title", {}, `+${period(place * span)}: ${told.join(", ") || "nothing"}`));
      return made;
    });
  }

  function drawSpans() {
    const { series, span_seconds: span } = doc.history;
    const names = Object.keys(SERIES_WORDS);
    const lines = series.sent.map((_, place) => [`+${period(place * span)}`, ...names.map((name) => count(series[name][place]))]);
    by("spans").querySelector(".scroll").replaceChildren(table(["from", ...names.map((name) => SERIES_WORDS[name])], lines, new Set(names.keys()).add(names.length)));
  }

  /* A plain table; a cell is text or an element. `numeric`: the places of columns that stand on the right. */
  function table(heads, lines, numeric) {
    const side = (place) => (numeric.has(place) ? "number" : "");
    const head = element("tr", {}, ...heads.map((text, place) => element("th", { scope: "col", className: side(place), textContent: text })));
    const body = lines.map((line) => element("tr", {}, ...line.map((cell, place) => element("td", { className: side(place) }, cell))));
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  }

  // ---- rate against quota ----

  function drawPacing() {
    const paces = doc.live?.state?.pacing?.length ? doc.live.state.pacing : doc.run.pacing;
    by("pacing-card").hidden = !paces.length;
    by("pacing").replaceChildren(table(["API", "used", "quota", "calls", "throttled"], paces.map((pace) => [
      paced(pace), used(pace), visible(pace.rate), count(pace.calls), count(pace.throttled),
    ]), new Set([3, 4])));
  }

  const paced = (pace) => element("span", {}, visible(pace.api),
    element("small", { textContent: visible(`${pace.region}, ${pace.account_id}`) }));

  function used(pace) {
    if (pace.used === null) return "–";
    const share = `${(pace.used * 100).toFixed(pace.used < 0.1 ? 1 : 0)} %`;
    const meter = element("meter", { min: 0, max: 1, value: Math.min(1, pace.used), textContent: share });
    meter.setAttribute("aria-label", `quota of ${visible(pace.api)} used`);
    return element("span", {}, meter, ` ${share}`);
  }

  // ---- durations ----

  function drawDurations() {
    const found = new Map();
    for (const row of doc.rows) {
      const seconds = row[at.seconds];
      if (seconds === null || !(row[at.outcome] in BY_LOOK)) continue;
      const change = row[at.change];
      if (!found.has(change)) found.set(change, []);
      found.get(change).push(seconds);
    }
    by("durations-card").hidden = !found.size;
    by("durations").replaceChildren(...[...found].map(([change, taken]) => durations(change, Float64Array.from(taken).sort(), by("durations").clientWidth || 500)));
  }

  function durations(change, sorted, width) {
    const quantile = (share) => period(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
    const told = element("p", {}, element("b", { textContent: visible(change) }),
      ` ${rowsOf(sorted.length)}: half within `, element("b", { textContent: quantile(0.5) }), `, 90 % within ${quantile(0.9)}, 99 % within ${quantile(0.99)}, the longest ${period(sorted.at(-1))}`);
    return element("div", { className: "duration" }, told, histogram(sorted, width, visible(change)));
  }

  /* Of equal steps from nothing to the longest; or to where 99 % end, when few take far longer: they are in the last. */
  function histogram(sorted, width, change) {
    const [bins, high] = [40, 70];
    const longest = Math.max(sorted.at(-1), 0.001);
    const most99 = Math.max(sorted[Math.min(sorted.length - 1, Math.floor(0.99 * sorted.length))], 0.001);
    const far = longest > 3 * most99;
    const end = far ? most99 : longest;
    const counts = new Array(bins).fill(0);
    for (const seconds of sorted) counts[Math.min(bins - 1, Math.max(0, Math.floor((seconds / end) * bins)))]++;
    const most = Math.max(...counts);
    const wide = width / bins;
    const made = drawn("svg", { viewBox: `0 0 ${width} ${high + 18}`, role: "img", "aria-label": `Durations of ${change}, from 0 to ${period(end)}` });
    counts.forEach((number, place) => {
      if (!number) return;
      const tall = Math.max(1.5, (high * number) / most);
      const one = bar("sent", place * wide, (place + 1) * wide, high - tall, high);
      one.append(drawn("title", {}, `${period((place * end) / bins)} to ${period(((place + 1) * end) / bins)}: ${rowsOf(number)}`));
      made.append(one);
    });
    made.append(drawn("line", { class: "grid", x1: 0, x2: width, y1: high, y2: high }), drawn("text", { x: 0, y: high + 14 }, "0"), drawn("text", { x: width, y: high + 14, "text-anchor": "end" }, far ? `${period(end)} and longer` : period(end)));
    return made;
  }

  // ---- errors ----

  function drawErrors() {
    const groups = new Map();
    for (const row of doc.rows) {
      const code = row[at.error_code];
      const outcome = row[at.outcome];
      if (code === null && outcome !== "failed" && outcome !== "unresolved") continue;
      if (!groups.has(code)) groups.set(code, { code, all: 0, outcomes: {}, said: row[at.error_message] ?? row[at.detail] });
      const group = groups.get(code);
      group.all++;
      group.outcomes[outcome] = (group.outcomes[outcome] ?? 0) + 1;
    }
    const sorted = [...groups.values()].sort((one, other) => other.all - one.all);
    by("errors-card").hidden = !sorted.length;
    const focused = by("errors").contains(document.activeElement) ? document.activeElement.dataset.code : undefined;
    by("errors").replaceChildren(...sorted.map(errorGroup));
    if (focused !== undefined) [...by("errors").querySelectorAll("button")].find((one) => one.dataset.code === focused)?.focus();
  }

  function errorGroup({ code, all, outcomes, said }) {
    const name = code === null ? "no code" : visible(code);
    const told = element("div", {}, element("code", { textContent: name }), ` – ${listed(OUTCOMES.filter((one) => outcomes[one]).map((one) => `${count(outcomes[one])} ${one.replace("_", " ")}`))}`);
    const advice = code === null ? undefined : doc.advice[code];
    if (advice) told.append(element("p", {}, ...prose(advice)));
    if (said) told.append(element("p", { className: "said" }, "for example: ", element("bdi", { textContent: visible(said) })));
    const show = element("button", { type: "button", textContent: "Show rows" });
    show.setAttribute("aria-label", `Show the rows with ${name}`);
    show.dataset.code = String(code);
    show.addEventListener("click", () => {
      filter = {};
      words = [];
      by("text").value = "";
      choose("error_code", code);
      by("rows").focus({ preventScroll: true });
      by("rows").scrollIntoView();
    });
    return element("li", {}, element("span", { className: "many", textContent: count(all) }), told, show);
  }

  // ---- rows: filter, sort, pages ----

  function makeSelects() {
    choices = {};
    const made = [];
    for (const name of SELECTS) {
      const values = name === "outcome" ? OUTCOMES : [...counted(name).keys()].sort(ascending);
      choices[name] = values;
      if (values.length < 2) continue;
      const select = element("select", { name }, element("option", { value: "", textContent: "all" }),
        ...values.map((value, place) => element("option", { value: String(place), textContent: value === null ? "(none)" : visible(String(value)).replace("not_started", "not started") })));
      select.addEventListener("change", () => choose(name, select.value === "" ? undefined : values[Number(select.value)]));
      made.push(element("label", {}, name, select));
    }
    by("selects").replaceChildren(...made);
  }

  const ascending = (one, other) => (one === other ? 0 : one === null ? 1 : other === null ? -1 : one < other ? -1 : 1);

  function choose(name, value) {
    if (value === undefined) delete filter[name];
    else filter[name] = value;
    page = 0;
    redraw("rows", "counts");
  }

  const haystack = (place) => (haystacks[place] ??= doc.rows[place].join("\n").toLowerCase());

  function match() {
    const wanted = Object.entries(filter).map(([name, value]) => [at[name], value]);
    const found = new Uint32Array(order.length);
    let many = 0;
    for (const place of order) {
      const row = doc.rows[place];
      if (wanted.every(([column, value]) => row[column] === value) && words.every((word) => haystack(place).includes(word))) found[many++] = place;
    }
    matches = found.subarray(0, many);
  }

  /* Sorted by a column, what has no value last; rows that are equal stay in the order of the plan. */
  function arrange() {
    order = Uint32Array.from(doc.rows.keys());
    if (sort === null) return;
    const column = at[sort.column];
    const sign = sort.down ? -1 : 1;
    if (NUMBERS.has(sort.column) || sort.column in RANKS) {
      const ranks = RANKS[sort.column];
      const last = sign * Infinity;
      const keys = Float64Array.from(doc.rows, (row) => (row[column] === null ? last : ranks ? ranks.indexOf(row[column]) : row[column]));
      order.sort((one, other) => (keys[one] === keys[other] ? one - other : sign * (keys[one] - keys[other])));
      return;
    }
    const keys = doc.rows.map((row) => (row[column] === null ? null : row[column].toLowerCase()));
    const down = (one, other) => (one === null || other === null ? ascending(one, other) : -ascending(one, other));
    const compare = sort.down ? down : ascending;
    order.sort((one, other) => compare(keys[one], keys[other]) || one - other);
  }

  function makeHead() {
    const heads = ORDER.filter((name) => name in at).map((name) => {
      const button = element("button", { type: "button", textContent: name.replaceAll("_", " ") });
      button.addEventListener("click", () => sortBy(name));
      const head = element("th", { scope: "col", className: classes(name) }, button);
      head.dataset.column = name;
      return head;
    });
    by("table").tHead.replaceChildren(element("tr", {}, ...heads));
  }

  const classes = (name) => [NUMBERS.has(name) && "number", PROSE.has(name) ? "prose" : "wraps", MINOR.has(name) && "minor"].filter(Boolean).join(" ");

  /* First upwards, then downwards, then in the order of the plan again. */
  function sortBy(column) {
    sort = sort?.column !== column ? { column, down: false } : sort.down ? null : { column, down: true };
    page = 0;
    arrange();
    redraw("rows");
  }

  function drawRows() {
    match();
    const pages = Math.max(1, Math.ceil(matches.length / PAGE_ROWS));
    page = Math.min(Math.max(0, page), pages - 1);
    const from = page * PAGE_ROWS;
    const shown = matches.subarray(from, from + PAGE_ROWS);
    const used = filled();
    for (const head of by("table").querySelectorAll("th")) {
      const name = head.dataset.column;
      head.hidden = !used.has(name);
      head.setAttribute("aria-sort", sort?.column !== name ? "none" : sort.down ? "descending" : "ascending");
    }
    const names = ORDER.filter((name) => used.has(name));
    drawLines(shown, names);
    const all = doc.rows.length;
    const told = matches.length ? `${rowsOf(matches.length)}${matches.length < all ? ` of ${count(all)}` : ""}; ${count(from + 1)} to ${count(from + shown.length)} shown` : `none of ${rowsOf(all)}`;
    if (by("matches").textContent !== told) by("matches").textContent = told;
    drawControls(pages);
  }

  let lines = []; // what each line of the table shows, as text

  /* Only lines that show something else are made anew: what is selected in the others stays selected. */
  function drawLines(shown, names) {
    const body = by("table").tBodies[0];
    const now = Array.from(shown, (place) => JSON.stringify([names, place, doc.rows[place], doc.live?.phases?.[place]]));
    while (body.rows.length > now.length) body.lastElementChild.remove();
    now.forEach((line, number) => {
      if (line === lines[number]) return;
      const made = element("tr", {}, ...names.map((name) => cell(name, shown[number])));
      if (number < body.rows.length) body.rows[number].replaceWith(made);
      else body.append(made);
    });
    lines = now;
  }

  function drawControls(pages) {
    by("pages").hidden = pages < 2;
    by("previous").disabled = page === 0;
    by("next").disabled = page === pages - 1;
    by("page").max = String(pages);
    if (document.activeElement !== by("page")) by("page").value = String(page + 1);
    by("of-pages").textContent = `of ${count(pages)}`;
    const coded = "error_code" in filter;
    by("code").hidden = !coded;
    if (coded) by("code").textContent = `${filter.error_code === null ? "no code" : visible(filter.error_code)} ✕`;
    if (coded) by("code").setAttribute("aria-label", "Show rows with any code again");
    for (const select of by("selects").querySelectorAll("select")) {
      select.value = select.name in filter ? String(choices[select.name].indexOf(filter[select.name])) : "";
    }
  }

  let known = new Set(); // columns in which some row has something; they only become more

  function filled() {
    const missing = ORDER.filter((name) => name in at && !known.has(name));
    for (const name of missing) {
      if (doc.rows.some((row) => row[at[name]] !== null)) known.add(name);
    }
    return known;
  }

  function cell(name, place) {
    const value = doc.rows[place][at[name]];
    const made = element("td", { className: classes(name) });
    const phase = name === "outcome" && doc.live?.phases?.[place];
    if (value === null) {
      if (phase) made.append(element("span", { className: "mark" }, element("small", { textContent: phase })));
      return made;
    }
    const text = name === "seconds" ? value.toFixed(3) : visible(String(value));
    if (name === "outcome") {
      const mark = element("span", { className: `mark ${value}`, textContent: text.replace("_", " ") });
      if (phase && phase !== value) mark.append(element("small", { textContent: ` ${phase}` }));
      made.append(mark);
      return made;
    }
    made.append(PROSE.has(name) || NUMBERS.has(name) ? text : element("span", { textContent: text }));
    return made;
  }

  // ---- drawing, at most once a frame ----

  const DRAW = { head: drawHead, live: drawLive, counts: drawCounts, timeline: drawTimeline, pacing: drawPacing, durations: drawDurations, errors: drawErrors, rows: drawRows };

  function redraw(...parts) {
    for (const part of parts) stale.add(part);
    due ||= requestAnimationFrame(draw);
  }

  function draw() {
    due = 0;
    for (const part of Object.keys(DRAW)) if (stale.has(part)) DRAW[part]();
    stale.clear();
  }

  /* What is filtered, sorted and turned to stays so when it is the same run again. */
  function load(given) {
    const same = doc !== null && doc.run.id === given.run.id && doc.columns.join() === given.columns.join();
    doc = given;
    at = Object.fromEntries(doc.columns.map((name, place) => [name, place]));
    [haystacks, known] = [new Array(doc.rows.length), new Set()];
    if (!same) {
      by("filters").reset();
      [filter, words, sort, page] = [{}, [], null, 0];
    }
    recount();
    arrange();
    makeCounts();
    makeSelects();
    makeHead();
    for (const part of Object.keys(DRAW)) stale.add(part);
    draw();
  }

  /* The counts of the rows that are shown, whatever the run's object says. */
  function recount() {
    const found = counted("outcome");
    doc.run.counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, found.get(outcome) ?? 0]));
  }

  /* Rows keep their places, sorted or not, until they are sorted again: what is being read does not jump. */
  function update({ rows, run, history, state, advice }) {
    if (state !== undefined || rows) doc.live ??= { phases: [], state: null };
    for (const [place, row, phase] of rows ?? []) {
      doc.rows[place] = row;
      doc.live.phases[place] = phase;
      haystacks[place] = undefined;
    }
    if (order.length !== doc.rows.length) arrange();
    if (advice) doc.advice = { ...doc.advice, ...advice };
    if (run) doc.run = { ...doc.run, ...run };
    if (history) doc.history = history;
    if (state !== undefined) doc.live.state = state;
    if (rows || run) recount();
    if (rows) redraw("head", "counts", "durations", "errors", "rows");
    if (run) redraw("head", "counts", "pacing", "timeline");
    if (history) redraw("timeline");
    if (state !== undefined) redraw("head", "live", "pacing");
  }

  by("text").addEventListener("input", () => {
    words = by("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    page = 0;
    redraw("rows");
  });
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("reset", () => {
    [filter, words, page] = [{}, [], 0];
    if (doc) redraw("rows", "counts");
  });
  by("code").addEventListener("click", () => {
    choose("error_code", undefined);
    by("text").focus();
  });
  for (const [id, step] of [["previous", -1], ["next", 1]]) {
    by(id).addEventListener("click", () => {
      page += step;
      redraw("rows");
    });
  }
  by("page").addEventListener("change", () => {
    page = (Number.parseInt(by("page").value, 10) || 1) - 1;
    redraw("rows");
  });
  by("spans").addEventListener("toggle", () => by("spans").open && drawSpans());
  let width = innerWidth;
  addEventListener("resize", () => {
    if (doc && innerWidth !== width) redraw("timeline", "durations");
    width = innerWidth;
  });

  globalThis.batchmod = { load, update };
  const data = by("data");
  if (data) load(JSON.parse(data.textContent));
})();
