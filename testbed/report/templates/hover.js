// Pointing at a chart, or the arrow keys on a focused one, reads it out and marks the same moment in every chart.
(() => {
  const charts = [...document.querySelectorAll("svg[data-read]")].map((svg) => ({ svg, ...JSON.parse(svg.dataset.read) }));
  const cursors = charts.map(({ svg }) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cursor");
    line.setAttribute("y1", 16);
    line.setAttribute("y2", svg.viewBox.baseVal.height - 22);
    line.setAttribute("visibility", "hidden");
    return svg.appendChild(line);
  });
  const read = document.createElement("div");
  read.className = "read";
  read.setAttribute("role", "status");
  const bins = (chart) => chart.series[0][1].length;
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

  function show(chart, bin) {
    const share = (bin + 0.5) / bins(chart);
    const x = chart.left + share * (chart.right - chart.left);
    for (const cursor of cursors) {
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.setAttribute("visibility", "visible");
    }
    const lines = chart.series.map(([label, values]) => `${label} ${values[bin] === null ? "–" : number(values[bin]) + chart.unit}`);
    read.textContent = [`at ${+(bin * chart.step).toFixed(2)} s`, ...lines].join("\n");
    chart.svg.parentElement.append(read);
    const box = chart.svg.getBoundingClientRect();
    const at = (x / chart.svg.viewBox.baseVal.width) * box.width;
    read.style.left = share < 0.5 ? `${at + 10}px` : "";
    read.style.right = share < 0.5 ? "" : `${box.width - at + 10}px`;
    chart.bin = bin;
  }
  function hide() {
    read.remove();
    for (const cursor of cursors) cursor.setAttribute("visibility", "hidden");
  }
  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", (event) => {
      const box = chart.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.svg.viewBox.baseVal.width;
      const bin = Math.floor(((x - chart.left) / (chart.right - chart.left)) * bins(chart));
      if (bin >= 0 && bin < bins(chart)) show(chart, bin);
      else hide();
    });
    chart.svg.addEventListener("pointerleave", hide);
    chart.svg.addEventListener("blur", hide);
    chart.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(chart, Math.min(Math.max((chart.bin ?? -1) + step, 0), bins(chart) - 1));
    });
  }
})();
