(() => {
  const { make, draw, quiet } = leveret;
  const data = JSON.parse(document.getElementById("data").textContent);
  const filters = document.getElementById("filters");
  const chosen = (name) => (filters.elements[name] ? filters.elements[name].value : "");
  const HEIGHT = 300, LEFT = 40, RIGHT = 14, TOP = 12, BOTTOM = 44;

  const passes = (row, place) => {
    if (place.published && filters.elements.published && !filters.elements.published.checked) return false;
    if (chosen("size") && place.size !== chosen("size")) return false;
    return place.published || !chosen("data") || row.dataset.data === chosen("data");
  };

  // one ranking: its rows in the order of a column, partial means below, places counted anew
  function order(section) {
    const body = section.querySelector("tbody"), head = section.querySelector('thead [aria-sort="ascending"], thead [aria-sort="descending"]');
    const column = head.querySelector(".sort").dataset.column, down = head.ariaSort === "descending";
    const cell = (row) => row.querySelectorAll("td[data-value]")[Number(column)];
    const own = Number.isNaN(Number(column)) ? (row) => row.dataset[column] : (row) => cell(row).dataset.value;
    const value = (row) => (own(row) === "" ? null : Number(own(row)));
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a.dataset.place - b.dataset.place;
      return (down ? y - x : x - y) || a.dataset.place - b.dataset.place;
    });
    body.append(...rows);
    let place = 0;
    const ranked = down && !Number.isNaN(Number(column));
    for (const row of rows) {
      const counts = ranked && !row.hidden && value(row) !== null && !row.classList.contains("published");
      row.querySelector(".rank").textContent = counts ? String(++place) : "";
    }
  }

  function sortBy(section, head, order) {
    for (const other of section.querySelectorAll("thead [aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
  }

  const nice = (low, high) => {
    const step = [1, 2, 5, 10, 20].find((one) => (high - low) / one <= 6) || 20;
    const first = Math.max(0, Math.floor(low / step) * step), last = Math.min(100, Math.ceil(high / step) * step);
    return Array.from({ length: Math.round((last - first) / step) + 1 }, (_, k) => first + k * step);
  };
  const short = (number) => (number >= 1e9 ? `${number / 1e9} G` : number >= 1e6 ? `${number / 1e6} M` : number >= 1e3 ? `${number / 1e3} k` : String(number));
  const cut = (name) => (name.length > 24 ? `${name.slice(0, 23)}\u2026` : name);

  // where the machines differ, so do the marks: speeds of two machines are not comparable
  const SHAPES = [
    (x, y) => draw("circle", { cx: x, cy: y, r: 5 }),
    (x, y) => draw("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 }),
    (x, y) => draw("path", { d: `M${x} ${y - 6}L${x + 5.5} ${y + 4.5}H${x - 5.5}Z` }),
    (x, y) => draw("path", { d: `M${x} ${y + 6}L${x + 5.5} ${y - 4.5}H${x - 5.5}Z` }),
  ];
  const diamond = (x, y) => draw("path", { d: `M${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}L${x - 5} ${y}Z` });

  function plot(figure, kind, places, domain) {
    const points = places.filter((one) => one[kind] !== null && one.means[domain] !== undefined);
    const canvas = figure.querySelector(".canvas"), caption = figure.querySelector("figcaption");
    for (const old of caption.querySelectorAll("small")) old.remove();
    figure.hidden = points.length < 2; // a point alone is no plot
    if (figure.hidden) return false;
    const WIDTH = Math.max(300, canvas.clientWidth); // letters keep their size, on a phone as well
    const machines = kind === "speed" ? [...new Set(points.map((one) => one.machine))] : [];
    const missing = places.filter((one) => !one.published).length - points.filter((one) => !one.published).length;
    const notes = [
      machines.length > 1 ? `marks tell the machine: ${machines.map((name, k) => `${["circle", "square", "triangle up", "triangle down"][k] || "circle"} ${name}`).join("; ")}` : machines[0] && `on ${machines[0]}`,
      points.some((one) => one.published) && "hollow: published",
      missing && `not drawn: ${missing} without a place or a recorded ${kind === "speed" ? "speed" : "number"}`,
    ].filter(Boolean);
    caption.append(make("small", {}, notes.join(" \u00b7 ")));
    const positive = points.map((one) => one[kind]).filter((one) => one > 0);
    const zero = points.some((one) => one[kind] === 0);
    let low = Math.log10(Math.min(...positive, Infinity)), high = Math.log10(Math.max(...positive, 0));
    if (!positive.length) [low, high] = [0, 1];
    const room = Math.max(0.3, 0.08 * (high - low));
    low -= room; high += room;
    const start = LEFT + (zero ? 42 : 0);
    const at = (one) => (one === 0 ? LEFT + 16 : start + ((Math.log10(one) - low) / (high - low)) * (WIDTH - RIGHT - start));
    const scores = points.map((one) => one.means[domain]);
    const ticks = nice(Math.min(...scores) - 1, Math.max(...scores) + 1), [bottom, top] = [ticks[0], ticks.at(-1)];
    const up = (score) => HEIGHT - BOTTOM - ((score - bottom) / (top - bottom || 1)) * (HEIGHT - BOTTOM - TOP);
    const title = `${kind === "speed" ? "Seconds of audio embedded in a second" : "Parameters"} against ${domain || "mean"} score of ${points.length} encoders`;
    const svg = draw("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": title });
    for (const tick of ticks) {
      svg.append(draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: up(tick), y2: up(tick) }),
        draw("text", { x: LEFT - 7, y: up(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    const decades = Array.from({ length: 16 }, (_, k) => k - 2).flatMap((k) => (high - low < 2.2 ? [1, 2, 5] : [1]).map((n) => n * 10 ** k));
    const marked = decades.filter((one) => Math.log10(one) >= low && Math.log10(one) <= high);
    const floor = HEIGHT - BOTTOM;
    for (const one of [...(zero ? [0] : []), ...marked]) {
      svg.append(draw("line", { class: "axis", x1: at(one), x2: at(one), y1: floor, y2: floor + 5 }),
        draw("text", { x: at(one), y: floor + 18, "text-anchor": "middle" }, kind === "speed" ? `${one.toLocaleString("en")}x` : short(one)));
    }
    svg.append(draw("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, kind === "speed" ? "seconds of audio a second" : "parameters"));
    // labels where there is room: right, left, above, below; the pointer tells the others
    const taken = points.map((one) => [at(one[kind]) - 6, up(one.means[domain]) - 6, 12, 12]);
    const free = ([x, y, w, h]) => x > LEFT && x + w < WIDTH - 2 && y > 0 && y + h < floor &&
      !taken.some(([a, b, c, d]) => x < a + c && a < x + w && y < b + d && b < y + h);
    for (const one of [...points].sort((a, b) => a.published - b.published)) {
      const [x, y] = [at(one[kind]), up(one.means[domain])];
      const shape = one.published ? diamond(x, y) : (SHAPES[Math.max(0, machines.indexOf(one.machine))] || SHAPES[0])(x, y);
      shape.setAttribute("class", one.published ? "point paper" : "point");
      const told = kind === "speed" ? `${one.speed.toPrecision(3)} s of audio a second, ${one.machine}` : `${short(Math.round(one.parameters))} parameters`;
      const tip = `${one.name}: ${one.means[domain].toFixed(1)}\n${told}`;
      svg.append(draw("g", { tabindex: 0, role: "img", "aria-label": tip, "data-tip": tip, class: "spot" }, shape));
      const text = cut(one.name), w = 6.1 * text.length;
      const box = [[x + 9, y - 6, w, 12], [x - 9 - w, y - 6, w, 12], [x - w / 2, y - 20, w, 12], [x - w / 2, y + 9, w, 12],
        [x + 6, y - 18, w, 12], [x + 6, y + 7, w, 12], [x - 6 - w, y - 18, w, 12], [x - 6 - w, y + 7, w, 12]].find(free);
      if (box && points.length <= 40) {
        taken.push(box);
        svg.append(draw("text", { class: "label", x: box[0], y: box[1] + 10, textLength: w.toFixed(1), lengthAdjust: "spacingAndGlyphs", "aria-hidden": "true" }, text));
      }
    }
    canvas.replaceChildren(svg);
    return true;
  }

  function show() {
    const domain = chosen("domain");
    for (const section of document.querySelectorAll(".ranking")) {
      const number = Number(section.dataset.ranking);
      section.hidden = chosen("ranking") !== "" && Number(chosen("ranking")) !== number;
      const places = data.rankings[number], plotted = [];
      const has = domain === "" || section.querySelector(`thead [data-domain="${CSS.escape(domain)}"]`) !== null;
      for (const row of section.querySelectorAll("tbody tr")) {
        const place = places[Number(row.dataset.place)];
        row.hidden = !has || !passes(row, place);
        if (!row.hidden) plotted.push(place);
      }
      for (const cell of section.querySelectorAll("[data-domain]")) {
        cell.hidden = domain !== "" && cell.dataset.domain !== domain && !cell.classList.contains("all");
      }
      section.querySelector(".empty").hidden = plotted.length > 0;
      section.querySelector(".scroll").hidden = plotted.length === 0;
      // a ranking of one domain has the mean of all alone
      const own = places.some((one) => one.means[domain] !== undefined) ? domain : "";
      section.querySelector(".plots").hidden = false; // what is hidden has no width
      const drawn = [...section.querySelectorAll("figure")].map((figure) => plot(figure, figure.dataset.plot, plotted, own));
      section.querySelector(".plots").hidden = !drawn.some(Boolean);
      order(section);
    }
    quiet();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".sort");
    if (!button) return;
    const head = button.closest("th"), section = button.closest(".ranking");
    sortBy(section, head, head.ariaSort === "descending" ? "ascending" : "descending");
    order(section);
  });
  filters.addEventListener("change", (event) => {
    if (event.target.name === "domain") {
      for (const section of document.querySelectorAll(".ranking")) {
        const own = [...section.querySelectorAll("thead th.average, thead th.all")].find((head) => head.dataset.domain === event.target.value);
        sortBy(section, own || section.querySelector("thead th.all"), "descending");
      }
    }
    show();
  });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; show(); } });
  filters.addEventListener("submit", (event) => event.preventDefault());
  // together at most a screen or two: of many rankings the first one alone
  if (data.rankings.length > 1 && filters.elements.ranking) filters.elements.ranking.value = "0";
  filters.hidden = false;
  show();
})();
