(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const FIRST_CLASSES = 30;
  const FEW_CLASSES = 12; // have room beside the scores
  const TWO_COLUMNS = 832; // pixels, 52rem: the page's style lays a task out in two from here on

  const { make, soft, draw, quiet, watch } = leveret;
  const shown = (score) => (score === null ? "\u2013" : score.toFixed(1));
  const at = (score) => `${Math.min(100, Math.max(0, score))}%`;

  function placed(name, left, width) {
    const element = make("span", { class: name });
    element.style.left = at(left);
    if (width !== undefined) element.style.width = at(width);
    return element;
  }

  // sorting keeps domains together: highest first, lowest first, the paper's order
  for (const table of document.querySelectorAll(".heat")) {
    const groups = [...table.tBodies].map((body) => [body, [...body.querySelectorAll("tr.task")]]);
    for (const button of table.querySelectorAll(".sort")) {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const order = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
        for (const other of table.querySelectorAll("thead [aria-sort]")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const value = (row) => {
          const text = row.cells[Number(button.dataset.column) + 1].dataset.value;
          return text === "" ? -Infinity : Number(text); // no score comes last, or first
        };
        for (const [body, rows] of groups) {
          const sorted = order === "none" ? rows : [...rows].sort((a, b) => value(b) - value(a));
          if (order === "ascending") sorted.reverse();
          const end = body.querySelector("tr.mean");
          for (const row of sorted) body.insertBefore(row, end);
        }
      });
    }
  }

  function classesOf(cell) {
    const names = data.classes[cell.perClass.classes];
    return names.map((name, k) => [name, cell.perClass.values[k]]).filter(([, value]) => value !== null);
  }

  function spread(table, task, chosen) {
    const cell = task.cells[chosen];
    const grid = make("div", { class: "bars spread" });
    table.columns.forEach((column, k) => {
      const one = task.cells[k];
      if (one.score === null) return;
      const track = make("span", { class: "track", "aria-hidden": "true" });
      for (const name of ["chance", "majority", "floor"]) {
        if (cell[name] !== null) track.append(placed(`level ${name}`, cell[name]));
      }
      if (one.run) track.append(placed("whisker", one.low, one.high - one.low));
      track.append(placed(one.run ? "dot" : "dot paper", one.score));
      const value = make("span", { class: "value" }, shown(one.score), one.other ? "\u2020" : "");
      const name = make("span", { class: "name" }, soft(column.name), one.run ? null : make("small", {}, ` ${column.detail}`));
      grid.append(make("div", { class: k === chosen ? "row chosen" : "row" }, name, track, value));
    });
    const key = make("p", { class: "key" },
      make("span", {}, make("i"), `chance ${shown(cell.chance)}, majority ${shown(cell.majority)}`),
      cell.floor === null ? null : make("span", { class: "floor" }, make("i"), `floor (melstats) ${shown(cell.floor)}`),
      task.cells.some((one) => !one.run && one.score !== null) ? make("span", { class: "paper" }, make("i"), "published") : null,
      task.cells.some((one) => one.other) ? make("span", {}, "\u2020 other clips: the paper's split was never published") : null);
    return [make("h4", {}, "Scores with 95 % intervals"), grid, key];
  }

  function perClass(cell) {
    const rows = classesOf(cell).sort((a, b) => a[1] - b[1]);
    const grid = make("div", { class: "classes" });
    const fill = (some) => some.forEach(([name, value]) => {
      const track = make("span", { class: "track", "aria-hidden": "true" }, placed("bar", 0, value));
      grid.append(make("div", { class: "bars" }, make("span", { class: "name" }, soft(name)), track,
        make("span", { class: "value" }, shown(value))));
    });
    fill(rows.slice(0, FIRST_CLASSES));
    const rest = rows.slice(FIRST_CLASSES);
    const more = rest.length ? make("button", { type: "button", class: "more",
      onclick: () => { fill(rest); more.remove(); } }, `Show ${rest.length} more classes`) : null;
    const of = cell.perClass.of;
    return [make("h4", {}, `${of[0].toUpperCase()}${of.slice(1)} of each class, the lowest first`), grid, more];
  }

  function matrix(slot, width) {
    const names = data.classes[slot.classes], size = names.length, counts = slot.counts, totals = Array(size).fill(0);
    for (let k = 0; k < counts.length; k += 3) totals[counts[k]] += counts[k + 2];
    const cut = (name) => (name.length > 18 ? `${name.slice(0, 17)}\u2026` : name);
    const longest = Math.max(...names.map((name) => cut(name).length));
    const letters = Math.min(11, Math.max(9, 0.9 * (width / (size + longest / 2)))); // pixels
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${letters}px ${getComputedStyle(document.body).fontFamily}`;
    const margin = Math.ceil(Math.max(...names.map((name) => pen.measureText(cut(name)).width))) + 8;
    let side = Math.min(34, (width - margin) / size);
    const labelled = side >= 10;
    const edge = labelled ? margin : 1;
    if (!labelled) side = Math.min(34, (width - 2) / size);
    const whole = size * side + edge + 1;
    const svg = draw("svg", { class: "matrix", width: whole, height: whole, viewBox: `0 0 ${whole} ${whole}`,
      "font-size": letters, role: "img",
      "aria-label": `Confusion matrix of ${size} classes; the most confused pairs are listed beside it` });
    svg.append(draw("rect", { class: "frame", x: edge, y: edge, width: size * side, height: size * side }));
    for (let k = 0; k < counts.length; k += 3) {
      const [t, p, n] = [counts[k], counts[k + 1], counts[k + 2]];
      svg.append(draw("rect", { class: t === p ? "right" : "wrong", x: edge + p * side, y: edge + t * side, width: side,
        height: side, "fill-opacity": 0.12 + (0.88 * n) / totals[t] },
      draw("title", {}, `${names[t]} taken for ${names[p]}: ${n} of ${totals[t]}`)));
    }
    if (labelled) names.forEach((name, k) => {
      const middle = edge + (k + 0.5) * side;
      svg.append(draw("text", { x: edge - 5, y: middle + 4, "text-anchor": "end" }, cut(name)),
        draw("text", { transform: `translate(${middle + 4} ${edge - 5}) rotate(-90)` }, cut(name)));
    });
    return svg;
  }

  // the embedding map: a point a clip; the nearest one to the pointer, or the one that the arrow keys came to, is told
  const COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#d4a72c", "#ff9da7", "#9c755f", "#8a94a0"];
  const REACH = 16; // pixels
  const colourOf = (k, many) => (many ? `hsl(${(k * 137.508) % 360} 60% ${[42, 55, 66][k % 3]}%)` : COLOURS[k]);

  function pointsOf(map) {
    const bytes = Uint8Array.from(atob(map.xy), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 }, (_, k) => [view.getUint16(4 * k, true) / 65535, 1 - view.getUint16(4 * k + 2, true) / 65535]);
  }

  function embeddingMap(cell, width) {
    const map = cell.map, sample = data.samples[map.sample], points = pointsOf(map), tags = cell.slots.length === 0;
    const lists = sample.classes.map((number) => data.classes[number]);
    const side = Math.min(620, width), edge = 12, radius = points.length > 300 ? 3.5 : 5;
    const top = Math.min(...points.map(([, y]) => y)), inside = side - 2 * edge;
    const at = points.map(([x, y]) => [edge + x * inside, edge + (y - top) * inside]);
    const height = Math.max(...at.map(([, y]) => y)) + edge; // no empty strip above or below
    const svg = draw("svg", { class: "map", width: side, height, viewBox: `0 0 ${side} ${height}`, tabindex: 0, role: "application",
      "aria-label": `Embedding map of ${points.length} test clips. Arrow keys go from clip to clip, Enter plays one.` });
    const dots = at.map(([x, y]) => draw("circle", { cx: x, cy: y, r: radius }));
    const ring = draw("circle", { class: "ring", r: radius + 4, visibility: "hidden" });
    svg.append(draw("rect", { class: "frame", x: 0.5, y: 0.5, width: side - 1, height: height - 1, rx: 6 }), draw("g", {}, ...dots), ring);
    const told = make("p", { class: "told", "aria-live": "polite" }, "\u00a0");
    const player = make("audio", { controls: "", preload: "none", hidden: "" });
    const legend = make("p", { class: "key colours" });
    const heard = sample.audio.filter((one) => one >= 0).length;
    let slot = 0, chosen = "", now = -1;

    const labelled = (k) => (tags ? sample.labels[k].map((n) => lists[0][n]).join(", ") : sample.labels[k].map((n, s) => lists[s][n]).join(", "));
    const has = (k, n) => (tags ? sample.labels[k].includes(n) : sample.labels[k][slot] === n);
    const leading = (k) => (tags ? sample.labels[k][0] : sample.labels[k][slot]);
    const present = () => [...new Set(points.flatMap((_, k) => (tags ? sample.labels[k] : [sample.labels[k][slot]])))].sort((a, b) => a - b);

    function paint() {
      const found = present(), many = found.length > COLOURS.length, place = new Map(found.map((n, k) => [n, k]));
      dots.forEach((dot, k) => {
        const first = leading(k), faint = chosen !== "" && !has(k, Number(chosen));
        const shade = chosen === "" ? first : Number(chosen);
        if (faint || shade === undefined) dot.removeAttribute("fill"); else dot.setAttribute("fill", colourOf(place.get(shade), many));
        dot.setAttribute("class", faint ? "faint" : "clear");
      });
      dots.filter((dot) => dot.classList.contains("clear")).forEach((dot) => dot.parentNode.append(dot));
      legend.replaceChildren(...(many ? [`${found.length} classes, more than colours can tell apart: choose one above the map, or point at a clip to see its own`]
        : found.map((n) => { const mark = draw("svg", { width: 10, height: 10, "aria-hidden": "true" }, draw("circle", { cx: 5, cy: 5, r: 5, fill: colourOf(place.get(n), false) }));
          return make("span", {}, mark, soft(lists[slot][n])); })));
    }

    function tellClip(k, pointed) {
      now = k;
      if (k < 0) { ring.setAttribute("visibility", "hidden"); quiet(); return; }
      const [x, y] = at[k], can = sample.audio[k] >= 0;
      for (const [name, value] of [["cx", x], ["cy", y], ["visibility", "visible"]]) ring.setAttribute(name, value);
      svg.classList.toggle("hears", can);
      told.replaceChildren(make("b", {}, soft(sample.clips[k])), ` ${labelled(k)}`);
      if (!pointed) return;
      tip.textContent = `${sample.clips[k]}\n${labelled(k)}${can ? "\nclick to hear it" : ""}`;
      tip.hidden = false;
      const box = svg.getBoundingClientRect(), own = tip.getBoundingClientRect();
      tip.style.left = `${Math.min(Math.max(8, box.left + x - own.width / 2), innerWidth - own.width - 8)}px`;
      tip.style.top = `${box.top + y > own.height + 20 ? box.top + y - own.height - 12 : box.top + y + 14}px`;
    }

    function nearest(event) {
      const box = svg.getBoundingClientRect(), scale = side / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      let best = -1, least = REACH ** 2;
      at.forEach(([px, py], k) => {
        const far = (px - x) ** 2 + (py - y) ** 2;
        if (far < least && dots[k].classList.contains("clear")) { best = k; least = far; }
      });
      return best;
    }

    function play(k) {
      if (k < 0 || sample.audio[k] < 0) return;
      player.src = data.audio[sample.audio[k]];
      player.hidden = false;
      player.setAttribute("aria-label", sample.clips[k]);
      player.play().catch(() => { /* told by the error event; a stop by the next click is none */ });
    }
    player.addEventListener("error", () => {
      told.append(" \u2013 cannot be played: the file lies there no longer, or this browser does not know its format");
    });

    function step(key) {
      const axis = key === "ArrowLeft" || key === "ArrowRight" ? 0 : 1, sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
      if (now < 0) return tellClip(0, true);
      let best = now, least = Infinity; // ahead, and rather straight than near
      at.forEach((point, k) => {
        const ahead = sign * (point[axis] - at[now][axis]), aside = Math.abs(point[1 - axis] - at[now][1 - axis]);
        if (ahead > 0 && ahead + 2 * aside < least && dots[k].classList.contains("clear")) { best = k; least = ahead + 2 * aside; }
      });
      return tellClip(best, true);
    }

    svg.addEventListener("pointermove", (event) => tellClip(nearest(event), true));
    svg.addEventListener("pointerleave", () => tellClip(-1));
    svg.addEventListener("click", (event) => { const k = nearest(event); tellClip(k, true); play(k); });
    svg.addEventListener("keydown", (event) => {
      if (event.key.startsWith("Arrow")) step(event.key); else if (event.key === "Enter" || event.key === " ") play(now); else return;
      event.preventDefault();
    });

    const classNames = make("select", { "aria-label": "Class on the map", onchange: (event) => { chosen = event.target.value; paint(); } });
    const fill = () => classNames.replaceChildren(make("option", { value: "" }, tags ? "every tag" : "every class"),
      ...present().map((n) => make("option", { value: n }, lists[slot][n])));
    const slots = lists.length > 1 ? make("select", { "aria-label": "Coloured by",
      onchange: (event) => { slot = Number(event.target.value); chosen = ""; fill(); paint(); } },
    ...cell.names.map((name, k) => make("option", { value: k }, `by ${name}`))) : null;
    fill();
    paint();
    const some = points.length < map.of ? `a sample of ${points.length.toLocaleString("en")} of ${map.of.toLocaleString("en")} test clips, each class in its share`
      : `${points.length.toLocaleString("en")} test clips`;
    const number = heard === points.length ? "" : ` (${heard.toLocaleString("en")} of these can be heard)`;
    const only = heard ? `click to hear ${data.excerptSeconds ? `the first ${data.excerptSeconds} s of a clip` : "a clip"}${number}`
      : "their files do not lie beside this page, so none can be heard";
    return make("div", { class: "mapped" }, make("h4", {}, "Embedding map"),
      make("p", { class: "key" }, `PCA, then t-SNE (perplexity ${map.perplexity}, made in ${map.seconds} s) of ${some}${tags ? ", coloured by the first tag" : ""}; `
        + `near clips have near vectors, wide gaps mean little; ${only}`),
      make("div", { class: "choose" }, slots, classNames),
      make("div", { class: "room" }, svg, make("div", {}, legend, told, player)));
  }

  // the name of a file, its path on the pointer; of two files of one name the folder stands there too
  function files(paths) {
    const short = (path, parts) => path.split("/").slice(-parts).join("/") || path;
    const names = paths.map((path) => short(path, 1));
    return paths.map((path, k) => make("span", { title: path }, soft(names.indexOf(names[k]) === names.lastIndexOf(names[k]) ? names[k] : short(path, 2))));
  }

  function listed(titles, rows, kind) {
    const head = make("tr", {}, ...titles.map(([title, number]) => make("th", { scope: "col", class: number ? "number" : "" }, title)));
    const body = rows.map((row) => make("tr", {}, ...row.map((text, k) => make("td", { class: titles[k][1] ? "number" : "" }, text instanceof Node ? text : soft(text)))));
    return watch(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": kind },
      make("table", { class: "plain clips" }, make("thead", {}, head), make("tbody", {}, ...body))));
  }

  function confusions(cell, width) {
    return cell.slots.flatMap((slot) => {
      const names = data.classes[slot.classes], of = slot.name ? ` of ${slot.name}` : "";
      const rows = slot.pairs.map(([t, p, n, total]) => [names[t], names[p], `${n} of ${total}`]);
      const pairs = rows.length
        ? listed([["True"], ["Taken for"], ["Clips", true]], rows, `Most confused pairs${of}`)
        : make("p", { class: "what" }, "No test clip was taken for another class.");
      return [make("div", { class: "two matrices" },
        slot.counts === null ? null : make("div", {}, make("h4", {}, `Confusion matrix${of}`),
          make("p", { class: "key" }, "rows: true class; columns: what it was taken for; shade: share of the row"), matrix(slot, width)),
        make("div", {}, make("h4", {}, `Most confused pairs${of}`), pairs))];
    });
  }

  function confusedClips(cell) {
    const tags = cell.slots.length === 0;
    const what = tags ? "have a false tag above every true one" : "are taken for another class";
    const parts = [make("h4", {}, "Most confused clips"), make("p", { class: "key" },
      `${cell.confused.toLocaleString("en")} of ${cell.of.toLocaleString("en")} test clips ${what}; `
      + "margin: decision value of what was predicted above that of the true label")];
    const titles = [["Clip"], ["True"], [tags ? "Highest false tag" : "Predicted"], ["Margin", true]];
    const names = files(cell.clips.map(([path]) => path));
    return cell.clips.length ? [...parts, listed(titles, cell.clips.map(([, ...rest], k) => [names[k], ...rest]), "Most confused clips")] : parts;
  }

  let opener = null;
  // by: a person's wish moves focus and address, a choice within the task the address alone, the start of the page neither
  function open(place, by) {
    const [t, k, c] = place.split(".").map(Number);
    const table = data.tables[t], task = table && table.tasks[k], cell = task && task.cells[c];
    if (!cell || !cell.run) return;
    const detail = document.getElementById(`detail-${t}`);
    detail.hidden = false;
    const inner = detail.clientWidth - 2 * parseFloat(getComputedStyle(detail).paddingLeft);
    const width = inner >= TWO_COLUMNS ? ((inner - 48) * 7) / 12 : Math.min(640, inner);
    const runs = table.columns.map((column, n) => [column.name, n]).filter(([, n]) => task.cells[n].run);
    const choice = (name, options, chosen, go) => make("select", { "aria-label": name,
      onchange: (event) => open(go(event.target.value), "choice") },
    ...options.map(([text, n]) => make("option", n === chosen ? { value: n, selected: "" } : { value: n }, text)));
    const near = (n) => (table.tasks[n].cells[c].run ? c : table.tasks[n].cells.findIndex((one) => one.run));
    const close = make("button", { type: "button", class: "close", onclick: () => shut(detail) }, "Close");
    const taskNames = table.tasks.map((one, n) => [one.title, n]);
    detail.replaceChildren(
      make("div", { class: "top" },
        make("div", {}, make("h3", { id: `detail-${t}-title` }, `${task.title}: ${table.columns[c].name}`),
          make("p", {}, `${task.metric} \u00b7 ${task.domain} \u00b7 protocol ${table.protocol}`)),
        make("div", { class: "choose" },
          choice("Task", taskNames, k, (n) => `${t}.${n}.${near(Number(n))}`),
          choice("Encoder", runs, c, (n) => `${t}.${k}.${n}`), close)),
      cell.warnings.length ? make("ul", { class: "warnings" }, ...cell.warnings.map((text) => make("li", {}, text))) : "",
      make("div", { class: classesOf(cell).length <= FEW_CLASSES ? "two" : "" },
        make("div", {}, ...spread(table, task, c)),
        make("div", {}, ...perClass(cell))),
      cell.map ? embeddingMap(cell, Math.min(640, inner)) : "",
      ...confusions(cell, width),
      make("div", {}, ...confusedClips(cell)),
      make("h4", {}, "Figures"),
      make("dl", { class: "facts" }, ...cell.facts.map(([name, value]) =>
        make("div", { class: value.length > 60 ? "wide" : "" }, make("dt", {}, name), make("dd", {}, value)))));
    const pressed = document.querySelector(`[data-open="${t}.${k}.${c}"]`);
    for (const other of document.querySelectorAll('.open[aria-expanded="true"]')) other.removeAttribute("aria-expanded");
    pressed.setAttribute("aria-expanded", "true");
    opener = pressed;
    quiet();
    if (by !== "start" && location.hash !== `#task-${place}`) history.replaceState(null, "", `#task-${place}`);
    if (by === "wish") {
      detail.focus({ preventScroll: true });
      const { top } = detail.getBoundingClientRect();
      if (top < 0 || top > innerHeight / 2) detail.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  }

  function shut(detail) {
    detail.hidden = true;
    detail.replaceChildren();
    if (opener) { opener.removeAttribute("aria-expanded"); opener.focus(); }
    history.replaceState(null, "", "#scores");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-open]");
    if (button) open(button.dataset.open, "wish");
  });
  const asked = () => { const found = /^#task-(\d+\.\d+\.\d+)$/.exec(location.hash); if (found) open(found[1], "wish"); return opener !== null; };
  addEventListener("hashchange", asked);
  // a page that was opened at no task shows its first
  const first = document.querySelector("[data-open]");
  if (!asked() && first) open(first.dataset.open, "start");

  // beside its task a table taller than the window is scrolled to its end, then stays
  const settle = () => { for (const one of document.querySelectorAll(".scores")) one.style.top = `${Math.min(16, innerHeight - one.offsetHeight - 16)}px`; };
  addEventListener("resize", settle);
  settle();
})();
