"use strict";
// What all pages share. Everything that is shown goes through text nodes: names of files and classes come from strangers.
const leveret = (() => {
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  // a long name may go on in the next line after its punctuation
  const soft = (name) => make("span", {}, ...name.split(/(?<=[_/:@.])/).flatMap((part, k) => (k ? [make("wbr"), part] : [part])));
  // theme: the system's until somebody chooses; a file that may keep nothing forgets it
  const theme = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("leveret-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
  if (["light", "dark"].includes(kept())) root.dataset.theme = kept();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("leveret-theme", root.dataset.theme); } catch { /* not kept */ }
    label();
  });
  system.addEventListener("change", label);
  label();
  theme.hidden = false;

  // the interval, where the pointer or the keyboard is
  const tip = document.getElementById("tip");
  function tell(event) {
    const cell = event.target.closest("[data-tip]");
    tip.hidden = !cell;
    if (!cell) return;
    tip.textContent = cell.dataset.tip;
    const box = cell.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
    tip.style.left = `${left}px`;
    tip.style.top = `${box.top > own.height + 12 ? box.top - own.height - 6 : box.bottom + 6}px`;
  }
  const quiet = () => { tip.hidden = true; };
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, tell);
  for (const name of ["scroll", "focusout"]) document.addEventListener(name, quiet, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") quiet(); });

  // what is cut at the right fades out, until somebody has scrolled to its end
  const fade = (box) => box.classList.toggle("cut", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  const sizes = new ResizeObserver((changes) => { for (const one of changes) fade(one.target.closest(".scroll")); });
  const watch = (box) => {
    for (const one of [box, ...box.children]) sizes.observe(one);
    box.addEventListener("scroll", () => fade(box), { passive: true });
    return box;
  };
  document.querySelectorAll(".scroll").forEach(watch);

  // the name space of SVG is asked of the parser, so that no address stands in the file
  const space = new DOMParser().parseFromString("<svg>", "text/html").body.firstChild.namespaceURI;
  function draw(tag, attributes, ...children) {
    const element = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  return { make, soft, draw, quiet, watch };
})();
