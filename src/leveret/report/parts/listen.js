(() => {
  const { make, soft, draw } = leveret;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [list, find, more, what, own, nearest, map, player] = ["clips", "find", "more", "what", "own", "nearest", "map", "player"].map(byId);
  const SHOWN = 300;
  let asked = null, found = [], blob = null, request = 0;

  const bar = (share) => { const one = make("span", { class: "bar" }); one.style.width = `${Math.min(100, Math.max(0, 100 * share))}%`; return one; };

  // one player for all; the row that plays has a bar to seek by
  let row = null;
  const icon = (playing) => draw("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" },
    draw("path", { d: playing ? "M1 0h3.5v12H1zM7.5 0H11v12H7.5z" : "M1.5 0L12 6L1.5 12z" }));
  function mark(button, playing) {
    button.replaceChildren(icon(playing));
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${button.dataset.name}`);
  }
  function silence() {
    player.pause();
    if (!row) return;
    mark(row.querySelector(".play"), false);
    for (const seek of row.querySelectorAll(".seek")) seek.remove();
    row = null;
  }
  function play(button, source) {
    const mine = button.parentElement;
    if (row === mine) {
      if (player.paused) player.play(); else player.pause();
      return;
    }
    silence();
    row = mine;
    player.src = source;
    const seek = make("input", { class: "seek", type: "range", min: 0, max: 1000, value: 0, "aria-label": "Where it plays",
      oninput: () => { if (Number.isFinite(player.duration)) player.currentTime = (seek.value / 1000) * player.duration; } });
    mine.append(seek);
    player.play().catch(() => { if (row === mine) tell("This browser cannot play that sound.", true); });
  }
  player.addEventListener("timeupdate", () => {
    const seek = row && row.querySelector(".seek");
    if (seek && player.duration && document.activeElement !== seek) seek.value = Math.round((1000 * player.currentTime) / player.duration);
  });
  for (const name of ["play", "pause", "ended"]) player.addEventListener(name, () => { if (row) mark(row.querySelector(".play"), name === "play"); });

  function playButton(name, source) {
    const button = make("button", { type: "button", class: "play", "data-name": name, onclick: () => play(button, source) });
    mark(button, false);
    return button;
  }

  function tell(text, wrong) {
    what.textContent = text;
    what.className = wrong ? "what wrong" : "what";
  }

  function show(name, source, neighbours) {
    silence();
    found = neighbours;
    own.replaceChildren(playButton(name, source), make("span", { class: "name" }, soft(name)));
    own.hidden = false;
    nearest.replaceChildren(...neighbours.map(([k, similarity], place) => {
      const [other] = data.clips[k];
      return make("li", {}, make("span", { class: "place" }, String(place + 1)), playButton(other, `audio/${k}`),
        make("button", { type: "button", class: "name", onclick: () => choose(k) }, soft(other)),
        make("span", { class: "track", "aria-hidden": "true" }, bar(similarity)),
        make("span", { class: "value" }, similarity.toFixed(3)));
    }));
    tell(neighbours.length ? `${neighbours.length} that sound most like it, the nearest first; a name asks on from there.` : "The folder has no other sound.");
    paint();
  }

  async function ask(options, address, name, source) {
    const mine = ++request;
    tell("Listening \u2026");
    try {
      const answer = await fetch(address, options), told = await answer.json();
      if (mine !== request) return;
      if (answer.ok) show(name, source, told.nearest);
      else tell(told.error, true);
    } catch {
      if (mine === request) tell("leveret does not answer any more: was it stopped?", true);
    }
  }

  function choose(k) {
    asked = k;
    for (const button of list.querySelectorAll("button")) {
      const mine = Number(button.dataset.clip) === k;
      button.setAttribute("aria-pressed", String(mine));
      if (mine) list.scrollTop = Math.max(0, button.offsetTop - list.offsetTop - list.clientHeight / 2);
    }
    history.replaceState(null, "", `#${k}`);
    return ask({}, `nearest/${k}`, data.clips[k][0], `audio/${k}`);
  }

  function send(file) {
    if (!file) return;
    if (file.size > data.largest) { tell(`${file.name} is larger than ${data.largest / 1e6} MB`, true); return; }
    asked = null;
    for (const button of list.querySelectorAll('[aria-pressed="true"]')) button.setAttribute("aria-pressed", "false");
    if (blob) URL.revokeObjectURL(blob);
    blob = URL.createObjectURL(file);
    ask({ method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } }, "nearest", file.name, blob);
  }

  function fill() {
    const wanted = find.value.trim().toLowerCase();
    const matches = data.clips.map(([name], k) => [name, k]).filter(([name]) => name.toLowerCase().includes(wanted));
    list.replaceChildren(...matches.slice(0, SHOWN).map(([name, k]) => make("li", {},
      make("button", { type: "button", "data-clip": k, "aria-pressed": String(k === asked), onclick: () => choose(k) }, soft(name)))));
    more.textContent = matches.length > SHOWN ? `and ${(matches.length - SHOWN).toLocaleString("en")} more: find them by name` : matches.length ? "" : "No sound of that name.";
  }

  // the map is painted, since there may be many thousands of dots
  const at = ([, x, y], width, height) => [14 + x * (width - 28), height - 14 - y * (height - 28)];
  function paint() {
    const scale = devicePixelRatio || 1, width = map.clientWidth, height = map.clientHeight;
    map.width = width * scale;
    map.height = height * scale;
    const pen = map.getContext("2d"), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.scale(scale, scale);
    const dot = (clip, size, fill, edge) => {
      const [x, y] = at(clip, width, height);
      pen.beginPath();
      pen.arc(x, y, size, 0, 7);
      pen.fillStyle = fill;
      pen.fill();
      if (edge) { pen.strokeStyle = edge; pen.lineWidth = 1.5; pen.stroke(); }
    };
    pen.globalAlpha = data.clips.length > 2000 ? 0.35 : 0.6;
    for (const clip of data.clips) dot(clip, data.clips.length > 2000 ? 1.5 : 3, colour("soft"));
    pen.globalAlpha = 1;
    for (const [k] of found) dot(data.clips[k], 5, colour("heat"), colour("ground"));
    if (asked !== null) dot(data.clips[asked], 7, colour("warn"), colour("ground"));
  }
  map.addEventListener("click", (event) => {
    const box = map.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const far = data.clips.map((clip) => { const [a, b] = at(clip, map.clientWidth, map.clientHeight); return (a - x) ** 2 + (b - y) ** 2; });
    const k = far.reduce((best, one, n) => (one < far[best] ? n : best), 0);
    if (far[k] < 400) choose(k);
  });
  byId("theme").addEventListener("click", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("resize", paint);

  const drop = byId("drop"), file = byId("file");
  file.addEventListener("change", () => { send(file.files[0]); file.value = ""; });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") send(event.dataTransfer.files[0]);
    });
  }
  find.addEventListener("input", fill);
  fill();
  paint();
  const start = /^#(\d{1,9})$/.exec(location.hash);
  if (start && Number(start[1]) < data.clips.length) choose(Number(start[1]));
})();
