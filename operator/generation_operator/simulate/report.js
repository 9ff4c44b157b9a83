"use strict";
(() => {
  const { courses, fronts } = JSON.parse(document.getElementById("data").textContent);
  const policies = courses.policies;
  const hidden = new Set();
  const DRAWN = new Set(["svg", "g", "line", "path", "rect", "circle", "text", "title"]);
  const LEFT = 46, RIGHT = 12, TOP = 8;
  let moment = busiest(), held = false, redraws = [];

  // --- elements: text is only ever set as text -------------------------------------------------------------------
  function make(name, attributes = {}, parent = null, text = null) {
    const element = DRAWN.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== null) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  function swatch(index, parent) {
    const picture = make("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, parent);
    make("line", { x1: 0, x2: 28, y1: 5, y2: 5, class: `course s${index % 10}` }, picture);
  }

  // --- numbers ----------------------------------------------------------------------------------------------------
  const count = (value, digits = 2) => value.toLocaleString("en", { maximumFractionDigits: digits });
  const span = courses.until - courses.from;

  function time(at) {
    const sign = at < 0 ? "−" : "", seconds = Math.abs(Math.round(at));
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    const two = (value) => String(value).padStart(2, "0");
    return `${sign}${h}:${two(m)}:${two(s)}`;
  }

  function shortTime(at) {
    if (at === 0) return "0";
    const sign = at < 0 ? "−" : "", size = Math.abs(at);
    if (span <= 600) return `${sign}${size} s`;
    if (span <= 2 * 3600) return `${sign}${size / 60} min`;
    return span <= 4 * 86400 ? `${sign}${size / 3600} h` : `${sign}${size / 86400} d`;
  }

  function timeTicks(width) {
    const most = Math.max(2, Math.min(9, Math.floor(width / 55))); // 55 px: room for "−30 min"

    const steps = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];
    const step = steps.find((one) => span / one <= most) ?? Math.ceil(span / most / 2592000) * 2592000;
    const ticks = [];
    for (let at = Math.ceil(courses.from / step) * step; at <= courses.until; at += step) ticks.push(at);
    return ticks;
  }

  function niceStep(size, most) {
    const rough = size / most, power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 5, 10].find((one) => power * one >= rough * 0.999);
  }

  // From 0 to the first one that is not below the top. There is no half replica.
  function ticksTo(top, most, isWhole) {
    const step = Math.max(niceStep(top, most), isWhole ? 1 : 0);
    return Array.from({ length: Math.ceil(top / step - 0.001) + 1 }, (_, index) => index * step);
  }

  function ticksWithin(from, to, most) {
    const step = niceStep(to - from, most), ticks = [];
    for (let index = Math.ceil(from / step); index * step <= to; index += 1) ticks.push(index * step);
    return ticks;
  }

  function busiest() {
    const queued = policies[0].queued;
    let best = 0;
    queued.forEach((value, index) => { if (value > queued[best]) best = index; });
    if (queued[best] > 0) return best;
    const replicas = policies[0].replicas;
    replicas.forEach((value, index) => { if (value > replicas[best]) best = index; });
    return best;
  }

  const isShown = (policy) => !hidden.has(policy.name);

  // --- charts over time -------------------------------------------------------------------------------------------
  const CHARTS = [
    { name: "Traffic", unit: "requests per second", height: 96, of: null },
    { name: "Replicas", unit: "asked for", height: 220, of: "replicas", steps: true },
    { name: "Queue", unit: "requests waiting", height: 136, of: "queued" },
    { name: "Misses", unit: "requests so far, after the warm-up", height: 136, of: "missed" },
  ];

  function path(times, values, x, y, steps) {
    let d = "";
    for (let index = 0; index < values.length; index += 1) {
      const [px, py] = [x(times[index]).toFixed(1), y(values[index]).toFixed(1)];
      if (index === 0) d += `M${px} ${py}`;
      else d += steps ? `H${px}V${py}` : `L${px} ${py}`;
    }
    return d;
  }

  function drawChart(chart, host, isLast) {
    const width = Math.max(320, host.clientWidth - 30), bottom = isLast ? 20 : 6;
    const height = chart.height + TOP + bottom, floor = TOP + chart.height;
    const shown = policies.filter(isShown);
    const top = chart.of === null
      ? Math.max(...courses.traffic.perSecond, 0)
      : Math.max(...shown.map((policy) => Math.max(...policy[chart.of], 0)), 0);
    const ticks = ticksTo(top > 0 ? top : 1, chart.height > 150 ? 5 : 3, chart.of !== null);
    const limit = ticks[ticks.length - 1];
    const x = (at) => LEFT + ((at - courses.from) / (span || 1)) * (width - LEFT - RIGHT);
    const y = (value) => floor - (value / limit) * chart.height;

    const figure = make("figure", {}, host);
    const caption = make("figcaption", {}, figure);
    make("b", {}, caption, chart.name);
    caption.append(` ${chart.unit}`);
    const label = `${chart.name}, ${chart.unit}, up to ${count(top)}`;
    const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, figure);
    if (courses.from < 0) {
      make("rect", { class: "warm", x: x(courses.from), y: TOP, width: x(0) - x(courses.from), height: chart.height }, picture);
      if (chart.of === null && x(0) - x(courses.from) > 60) {
        make("text", { x: x(courses.from) + 6, y: TOP + 14 }, picture, "warm-up");
      }
    }
    for (const tick of ticks) {
      make("line", { class: tick === 0 ? "axis" : "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }, picture);
      make("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, picture, count(tick));
    }
    for (const tick of isLast ? timeTicks(width - LEFT - RIGHT) : []) {
      const anchor = x(tick) > width - 36 ? "end" : "middle";
      make("text", { x: x(tick), y: height - 2, "text-anchor": anchor }, picture, shortTime(tick));
    }
    if (chart.of === null) {
      const line = path(courses.traffic.at, courses.traffic.perSecond, x, y, false);
      if (line) {
        const last = x(courses.traffic.at[courses.traffic.at.length - 1]).toFixed(1);
        make("path", { class: "area", d: `${line}L${last} ${floor}L${x(courses.traffic.at[0]).toFixed(1)} ${floor}Z` }, picture);
        make("path", { class: "traffic", d: line }, picture);
      }
    } else {
      // Ours last: what is drawn last is on top.
      for (let index = policies.length - 1; index >= 0; index -= 1) {
        const policy = policies[index];
        if (!isShown(policy)) continue;
        const d = path(courses.at, policy[chart.of], x, y, chart.steps);
        make("path", { class: `course s${index % 10}`, d, "data-policy": index }, picture);
      }
    }
    const cursor = make("line", { class: "cursor", y1: TOP, y2: floor }, picture);
    redraws.push(() => {
      const at = x(courses.at[moment]);
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
      cursor.classList.toggle("held", held);
    });
    figure.dataset.left = LEFT / width;
    figure.dataset.right = 1 - RIGHT / width;
  }

  // --- the moment -------------------------------------------------------------------------------------------------
  function decisionAt(policy, at) {
    let [low, high] = [0, policy.decisions.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (policy.decisions[middle][0] <= at + 0.5) low = middle + 1;
      else high = middle;
    }
    return low > 0 ? policy.decisions[low - 1] : null;
  }

  function rateAt(at) {
    const times = courses.traffic.at;
    let index = times.findIndex((one) => one >= at);
    if (index < 0) index = times.length - 1;
    return courses.traffic.perSecond[index] ?? 0;
  }

  function showMoment() {
    const panel = document.getElementById("moment"), at = courses.at[moment];
    panel.replaceChildren();
    const heading = make("h3", {}, panel, `${time(at)} `);
    make("span", {}, heading, `${count(rateAt(at))} requests/s${held ? " · held" : ""}`);
    const table = make("table", {}, panel), head = make("tr", {}, make("thead", {}, table)), body = make("tbody", {}, table);
    make("th", { scope: "col" }, head, "");
    for (const name of ["replicas", "ready", "queue", "missed"]) make("th", { scope: "col" }, head, name);
    policies.forEach((policy, index) => {
      if (!isShown(policy)) return;
      const row = make("tr", {}, body), name = make("th", { scope: "row" }, row);
      swatch(index, name);
      name.append(policy.name);
      for (const key of ["replicas", "ready", "queued", "missed"]) make("td", {}, row, count(policy[key][moment] ?? 0));
    });
    policies.filter((policy) => isShown(policy) && policy.decisions.length > 0).forEach((policy) => {
      const decision = decisionAt(policy, at);
      const title = make("h4", {}, panel, `${policy.name}: `);
      if (!decision) {
        make("span", {}, title, "nothing decided yet");
        return;
      }
      const [decided, wanted, reason, lines] = decision, ago = Math.max(0, Math.round(at - decided));
      title.append(`${wanted}, ${courses.texts[reason]} `);
      make("span", {}, title, ago === 0 ? "now" : `since ${time(decided)}`);
      showLines(lines.map((place) => courses.texts[place]), panel);
    });
  }

  // What moved the count or shows the arithmetic has a line of its own; that the rest had no objection is one paragraph.
  const TELLING = new Set(["Demand", "Forecast", "Score"]);

  function showLines(lines, panel) {
    const list = make("ol", { class: "lines" }, panel), rest = make("p", { class: "still" });
    for (const text of lines) {
      const parts = /^(\w+): (\d+) -> (\d+) ?(.*)$/s.exec(text);
      if (!parts) {
        make("li", {}, list, text);
        continue;
      }
      const [, stage, before, after, why] = parts;
      const isTelling = before !== after || TELLING.has(stage);
      const host = isTelling ? make("li", {}, list) : rest;
      if (!isTelling && rest.childNodes.length > 0) rest.append(" · ");
      make("b", {}, host, before === after ? stage : `${stage} ${before} → ${after}`);
      host.append(` ${why}`);
    }
    if (rest.childNodes.length > 0) panel.append(rest);
  }

  function moveTo(index) {
    moment = Math.max(0, Math.min(courses.at.length - 1, index));
    redraws.forEach((redraw) => redraw());
    showMoment();
  }

  function indexAt(event) {
    const figure = event.target.closest("figure") ?? document.querySelector("#charts figure");
    const box = figure.querySelector("svg").getBoundingClientRect();
    const [left, right] = [Number(figure.dataset.left), Number(figure.dataset.right)];
    const share = ((event.clientX - box.left) / box.width - left) / (right - left);
    const at = courses.from + share * span;
    let [low, high] = [0, courses.at.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (courses.at[middle] < at) low = middle + 1;
      else high = middle;
    }
    return low > 0 && at - courses.at[low - 1] < courses.at[low] - at ? low - 1 : low;
  }

  function listen() {
    const charts = document.getElementById("charts");
    charts.addEventListener("pointermove", (event) => { if (!held) moveTo(indexAt(event)); });
    charts.addEventListener("click", (event) => { held = !held; moveTo(indexAt(event)); });
    charts.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 : 1;
      const target = { ArrowLeft: moment - step, ArrowRight: moment + step, Home: 0, End: courses.at.length - 1 }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      moveTo(target);
    });
    let waiting = false, width = window.innerWidth;
    window.addEventListener("resize", () => {
      if (waiting || window.innerWidth === width) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; width = window.innerWidth; draw(); });
    });
  }

  // --- cost against misses ----------------------------------------------------------------------------------------
  const LEAST = 0.01; // %: less is drawn as this

  function drawFront() {
    const host = document.getElementById("front");
    host.replaceChildren();
    const shown = fronts.map((one, index) => ({ ...one, index })).filter(isShown);
    const points = shown.flatMap((one) => one.points);
    if (points.length === 0) return;
    const figure = make("figure", {}, host), key = make("figcaption", { class: "key" }, figure);
    for (const one of shown) {
      const entry = make("span", {}, key);
      swatch(one.index, entry);
      entry.append(one.name);
    }
    const width = Math.max(320, host.clientWidth - 30), height = 400, base = height - 40;
    const costs = points.map(({ cost }) => cost[0]), low = Math.min(...costs), high = Math.max(...costs);
    const pad = (high - low || high || 1) * 0.08, from = Math.max(0, low - pad), to = high + pad;
    const top = Math.min(100, 10 ** Math.ceil(Math.log10(Math.max(1, ...points.map(({ misses }) => misses[0])))));
    const decades = Math.log10(top / LEAST);
    // With few seeds an interval may be wider than all that is drawn: it ends at the edge.
    const share = (cost) => (Math.min(to, Math.max(from, cost)) - from) / (to - from);
    const x = (cost) => LEFT + 14 + share(cost) * (width - LEFT - RIGHT - 14);
    const y = (misses) => TOP + (Math.log10(top / Math.min(top, Math.max(LEAST, misses))) / decades) * (base - TOP);
    const label = "Pod-hours against misses in per cent of each policy at several settings; the figures are in the table below";
    const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, figure);

    for (let tick = LEAST; tick <= top * 1.01; tick *= 10) {
      make("line", { class: "grid", x1: LEFT + 14, x2: width - RIGHT, y1: y(tick), y2: y(tick) }, picture);
      const text = tick === LEAST ? `≤ ${LEAST} %` : `${Number(tick.toPrecision(1))} %`;
      make("text", { x: LEFT + 6, y: y(tick) + 4, "text-anchor": "end" }, picture, text);
    }
    const ticks = ticksWithin(from, to, width > 600 ? 9 : 4), digits = Math.max(0, Math.ceil(-Math.log10(ticks[1] - ticks[0])));
    for (const tick of ticks) {
      make("line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: base }, picture);
      make("text", { x: x(tick), y: base + 16, "text-anchor": "middle" }, picture, count(tick, digits));
    }
    make("text", { x: width - RIGHT, y: height - 4, "text-anchor": "end" }, picture, "pod-hours");
    make("line", { class: "guide", x1: LEFT + 14, x2: width - RIGHT, y1: y(1), y2: y(1) }, picture);
    make("text", { x: width - RIGHT, y: y(1) + (top > 1 ? -5 : 14), "text-anchor": "end" }, picture, "99 % attained");
    const usual = fronts[0].points.find((point) => point.isUsual);
    if (usual) {
      make("line", { class: "guide", x1: x(usual.cost[0]), x2: x(usual.cost[0]), y1: TOP, y2: base }, picture);
      const [side, anchor] = x(usual.cost[0]) > width * 0.7 ? [-5, "end"] : [5, "start"];
      make("text", { x: x(usual.cost[0]) + side, y: TOP + 12, "text-anchor": anchor }, picture, `cost of ${fronts[0].name}`);
    }
    for (const one of [...shown].reverse()) drawPoints(one, picture, x, y);
  }

  function drawPoints(one, picture, x, y) {
    const color = `s${one.index % 10}`, group = make("g", {}, picture);
    const best = one.points.filter((point) => point.isBest).sort((a, b) => a.cost[0] - b.cost[0]);
    const d = best.map(({ cost, misses }, index) => `${index ? "L" : "M"}${x(cost[0]).toFixed(1)} ${y(misses[0]).toFixed(1)}`).join("");
    make("path", { class: `course ${color}`, d }, group);
    for (const point of one.points) {
      const [cost, costMargin] = point.cost, [misses, missesMargin] = point.misses, [px, py] = [x(cost), y(misses)];
      const spot = make("g", { class: point.isBest ? "" : "beaten" }, group);
      const told = `${one.name}, ${one.knob} ${point.knob}: ${cost.toFixed(2)} ± ${costMargin.toFixed(2)} pod-hours, `
        + `${misses.toFixed(2)} ± ${missesMargin.toFixed(2)} % missed`;
      make("title", {}, spot, told);
      make("line", { class: `spread ${color}`, x1: x(cost - costMargin), x2: x(cost + costMargin), y1: py, y2: py }, spot);
      const [upper, lower] = [y(misses + missesMargin), y(Math.max(0, misses - missesMargin))];
      make("line", { class: `spread ${color}`, x1: px, x2: px, y1: upper, y2: lower }, spot);
      make("circle", { class: "reach", cx: px, cy: py, r: 10 }, spot); // what the pointer has to hit
      make("circle", { class: `spot ${color}`, cx: px, cy: py, r: 3.2 }, spot);
      if (point.isUsual) make("circle", { class: `ring ${color}`, cx: px, cy: py, r: 7 }, spot);
    }
  }

  // --- all of it --------------------------------------------------------------------------------------------------
  function drawLegend() {
    const legend = document.getElementById("legend");
    policies.forEach((policy, index) => {
      const label = make("label", {}, legend), box = make("input", { type: "checkbox" }, label);
      box.checked = true;
      swatch(index, label);
      make("span", {}, label, policy.name);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(policy.name);
        else hidden.add(policy.name);
        draw();
      });
    });
  }

  function draw() {
    const charts = document.getElementById("charts");
    charts.replaceChildren();
    redraws = [];
    CHARTS.forEach((chart, index) => drawChart(chart, charts, index === CHARTS.length - 1));
    drawFront();
    moveTo(moment);
  }

  drawLegend();
  listen();
  draw();
})();
