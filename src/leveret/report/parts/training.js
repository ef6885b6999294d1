(() => {
  const { draw, quiet } = leveret;
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");

  // the step under the pointer, and the numbers there
  for (const svg of document.querySelectorAll(".curve")) {
    const { unit, lines } = data.charts[Number(svg.dataset.chart)];
    const here = draw("path", { class: "here", d: "" });
    const spot = draw("circle", { class: "spot", r: 3.5, cx: -9, cy: -9 });
    const clear = () => { here.remove(); spot.remove(); quiet(); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const nearest = (line) => line.x.reduce((best, one, k) => (Math.abs(one - x) < Math.abs(line.x[best] - x) ? k : best), 0);
      const k = nearest(lines[0]);
      here.setAttribute("d", `M${lines[0].x[k]} 10V174`);
      spot.setAttribute("cx", lines[0].x[k]);
      spot.setAttribute("cy", lines[0].y[k]);
      svg.append(here, spot);
      const told = lines.map((line) => `${line.name ? `${line.name} ` : ""}${line.values[nearest(line)]}${unit ? ` ${unit}` : ""}`);
      tip.hidden = false;
      tip.textContent = [`step ${lines[0].steps[k].toLocaleString("en")}`, ...told].join("\n");
      const own = tip.getBoundingClientRect();
      tip.style.left = `${Math.min(Math.max(8, event.clientX + 14), innerWidth - own.width - 8)}px`;
      tip.style.top = `${box.top > own.height + 12 ? box.top - own.height - 4 : box.bottom + 4}px`;
    });
    for (const name of ["pointerleave", "pointercancel"]) svg.addEventListener(name, clear);
  }
})();
