// Charts with uPlot: <div data-charts="ADDRESS" data-every="MS"> becomes one figure per chart of the JSON at ADDRESS, each with its
// numbers in a table for those who do not see it. While the answer says `live`, it is asked for again every MS milliseconds.
(() => {
  "use strict";
  const HEIGHT = 190;
  const TONES = ["accent", "quiet", "good", "bad", "warm", "violet", "teal", "rose"];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  // As the rest of the page writes numbers: 13,581 and −0.39.
  const written = (value, least, most) =>
    value.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most }).replace("-", "−");
  const number = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const digits = unit === "%" || unit === "failures" ? 0 : Math.abs(value) >= 100 ? 0 : 2;
    return written(value, digits, digits) + (unit === "%" ? " %" : "");
  };
  const place = (x, kind) => kind === "time" ? new Date(x * 1000).toISOString().slice(0, 16).replace("T", " ") : String(x);

  // What uPlot draws: the series, and the two edges of each interval; stacked bars are drawn as sums, the tallest first.
  const drawn = (chart) => {
    const data = [chart.bars ? chart.x.map((_, at) => at) : chart.x], series = [{}], bands = [];
    if (chart.bars) {
      const sums = chart.x.map(() => 0);
      const stacked = chart.series.map((one) => one.values.map((value, at) => (sums[at] += value || 0)));
      chart.series.forEach((one, at) => {
        const shown = chart.series.length - 1 - at;
        data.push(stacked[shown]);
        const tone = colour(chart.series[shown].tone);
        series.push({ label: chart.series[shown].label, stroke: tone, fill: tone, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.6, 36] }) });
      });
      return { data, series, bands };
    }
    for (const one of chart.series) {
      const tone = colour(one.tone);
      series.push({
        label: one.label, stroke: tone, width: one.points ? 0 : 2, spanGaps: true,
        paths: one.points ? () => null : undefined,
        points: { show: one.points || one.values.filter((value) => value !== null).length < 30, size: one.points ? 9 : 5, fill: tone, stroke: tone },
      });
      data.push(one.values);
    }
    for (const one of chart.series) {
      if (!one.low.length) continue;
      const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
      series.push({ ...edge, label: "" }, { ...edge, label: "" });
      data.push(one.high, one.low);
      if (!one.points) bands.push({ series: [data.length - 2, data.length - 1], fill: colour(`${one.tone}-wash`) });
    }
    return { data, series, bands };
  };

  // A single point stands in the middle.
  const alone = (chart) => {
    const room = chart.x_is === "time" ? 43200 : 1;
    return chart.x.length === 1 ? { range: [chart.x[0] - room, chart.x[0] + room] } : {};
  };

  // Bars stand side by side whatever their time; the server leaves no gap out.
  const ranges = (chart) => ({
    x: chart.bars ? { time: false, range: [-0.5, chart.x.length - 0.5] } : { time: chart.x_is === "time", ...alone(chart) },
    y: chart.unit === "%" ? { range: [0, 100] } : chart.bars ? { range: (_, low, high) => [0, Math.max(1, high) * 1.08] } : {},
  });

  // A few labels under the bars: day and hour as far as they tell bars apart.
  const barLabels = (chart) => {
    const daily = chart.x.every((x) => x % 86400 === 0);
    const label = (at) => {
      const text = place(chart.x[at], chart.x_is);
      return chart.x_is === "time" ? (daily ? text.slice(5, 10) : text.slice(5)) : text;
    };
    const step = Math.ceil(chart.x.length / 8);
    return { splits: () => chart.x.map((_, at) => at).filter((at) => at % step === 0), values: (_, splits) => splits.map(label) };
  };

  const draw = (figure, chart) => {
    const { data, series, bands } = drawn(chart);
    const ink = colour("ink-soft"), grid = colour("line");
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const whole = (_, splits) => splits.map((x) => Number.isInteger(x) ? String(x) : "");
    const options = {
      width: Math.max(220, figure.plot.clientWidth), height: HEIGHT, series, bands, scales: ranges(chart),
      legend: { show: false }, cursor: { drag: { x: !chart.bars, y: false, setScale: true }, points: { size: 7 }, y: false },
      axes: [
        { ...axis, grid: { show: false }, ...(chart.bars ? { size: 30, ...barLabels(chart) } : chart.x_is === "time" ? { size: 44 } : { size: 30, values: whole }) },
        { ...axis, size: 52, values: (_, splits) => splits.map((y) => chart.unit === "%" ? `${y} %` : chart.unit === "failures" && !Number.isInteger(y) ? "" : written(y, 0, 2)) },
      ],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      hooks: { setScale: [(plot, key) => { if (key === "x" && !chart.bars) keepZoom(figure, plot); }], setCursor: [(plot) => point(figure, chart, plot.cursor.idx)], draw: [(plot) => whiskers(plot, chart)] },
    };
    const zoom = figure.zoom;
    figure.uplot?.destroy();
    figure.uplot = new uPlot(options, data, figure.plot);
    if (zoom) figure.uplot.setScale("x", zoom);
  };

  // New numbers are drawn into the part that was zoomed into.
  const keepZoom = (figure, plot) => {
    const { min, max } = plot.scales.x;
    figure.zoom = zoomed(plot) ? { min, max } : null;
    figure.whole.hidden = !figure.zoom;
  };

  const zoomed = (plot) => {
    const x = plot.data[0];
    return plot.scales.x.min > x[0] || plot.scales.x.max < x[x.length - 1];
  };

  // Intervals of single points, as lines from low to high.
  const whiskers = (plot, chart) => {
    const pen = plot.ctx;
    pen.save();
    for (const one of chart.series) {
      if (!(one.points || chart.x.length === 1) || !one.low.length) continue;
      pen.strokeStyle = colour(one.tone);
      pen.lineWidth = 1.5 * devicePixelRatio;
      one.values.forEach((value, at) => {
        if (value === null || one.low[at] === null || one.high[at] === null) return;
        const x = plot.valToPos(chart.x[at], "x", true);
        pen.beginPath();
        pen.moveTo(x, plot.valToPos(one.low[at], "y", true));
        pen.lineTo(x, plot.valToPos(one.high[at], "y", true));
        pen.stroke();
      });
    }
    pen.restore();
  };

  // The legend doubles as the reading at the cursor; without one it shows the latest values.
  const point = (figure, chart, at) => {
    const index = at ?? chart.x.length - 1;
    figure.at.textContent = at === null || at === undefined ? "" : `${chart.x_is === "step" ? "step " : ""}${place(chart.x[index], chart.x_is)}`;
    chart.series.forEach((one, row) => {
      let value = one.values[index];
      if (at === null || at === undefined) {
        const known = one.values.filter((each) => each !== null);
        value = chart.bars ? known.reduce((sum, each) => sum + each, 0) : known[known.length - 1];
      }
      figure.readings[row].textContent = number(value, chart.unit);
    });
  };

  const table = (chart) => {
    const made = make("table"), head = make("tr");
    head.append(...[chart.x_is, ...chart.series.map((one) => one.label)].map((text) => { const cell = make("th", "", text); cell.scope = "col"; return cell; }));
    made.append(make("thead"), make("tbody"));
    made.tHead.append(head);
    chart.x.forEach((x, at) => {
      const row = make("tr");
      row.append(make("td", "", place(x, chart.x_is)), ...chart.series.map((one) => make("td", "num", number(one.values[at], chart.unit))));
      made.tBodies[0].append(row);
    });
    return made;
  };

  const figureOf = (chart) => {
    const node = make("figure", "chart"), caption = make("figcaption"), legend = make("ul", "legend");
    const figure = { node, plot: make("div", "plot"), at: make("span", "quiet small"), readings: [], legend };
    // Dragging over a chart zooms in; the button, or a double click, shows everything again.
    figure.whole = make("button", "button", "Show all");
    figure.whole.type = "button";
    figure.whole.hidden = true;
    figure.whole.addEventListener("click", () => { figure.zoom = null; draw(figure, figure.chart); });
    caption.append(make("span", "chart-title", chart.title), figure.at, figure.whole);
    figure.plot.setAttribute("role", "img");
    const values = make("details", "values");
    figure.values = make("div", "scroll");
    values.append(make("summary", "", "Numbers"), figure.values);
    node.append(caption, figure.plot, legend, values);
    return figure;
  };

  const fill = (figure, chart) => {
    figure.chart = chart;
    figure.legend.replaceChildren(...chart.series.map((one, at) => {
      const item = make("li", `tone-${TONES.includes(one.tone) ? one.tone : "accent"}`);
      figure.readings[at] = make("b", "num");
      item.append(make("i"), document.createTextNode(one.label + " "), figure.readings[at]);
      return item;
    }));
    const latest = chart.series.map((one) => `${one.label} ${number(one.values.filter((value) => value !== null).pop(), chart.unit)}`);
    figure.plot.setAttribute("aria-label", `${chart.title}; latest: ${latest.join(", ")}; the numbers are in the table below`);
    figure.values.replaceChildren(table(chart));
    draw(figure, chart);
    point(figure, chart, null);
  };

  const start = (holder) => {
    const figures = new Map(), every = Number(holder.dataset.every) || 0;
    let shown = "";
    const note = (text) => { if (!figures.size) holder.replaceChildren(make("p", "quiet", text)); };
    const redraw = () => { for (const figure of figures.values()) draw(figure, figure.chart); };

    const ask = async () => {
      if (!holder.isConnected) return;
      let live = every > 0;
      try {
        const answer = await fetch(holder.dataset.charts, { headers: { Accept: "application/json" } });
        const text = await answer.text();
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        const found = JSON.parse(text);
        live = live && found.live;
        holder.dataset.live = String(live);
        holder.classList.remove("stale");
        if (text !== shown) {
          shown = text;
          if (!found.charts.length) note(live ? "No numbers yet; they will appear here." : "There are no numbers to draw.");
          else {
            if (!figures.size) holder.replaceChildren();
            for (const chart of found.charts) {
              if (!figures.has(chart.id)) { const figure = figureOf(chart); figures.set(chart.id, figure); holder.append(figure.node); }
              fill(figures.get(chart.id), chart);
            }
          }
        }
      } catch (trouble) {
        holder.classList.add("stale");
        note(`The numbers cannot be read: ${trouble.message}.`);
      }
      holder.setAttribute("aria-busy", "false");
      if (live) setTimeout(ask, document.hidden ? Math.max(every, 15000) : every);
    };
    new ResizeObserver(() => { for (const figure of figures.values()) figure.uplot?.setSize({ width: Math.max(220, figure.plot.clientWidth), height: HEIGHT }); }).observe(holder);
    document.addEventListener("theme", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    ask();
  };

  const startAll = (root) => {
    for (const holder of root.querySelectorAll("[data-charts]:not([data-started])")) { holder.dataset.started = "yes"; start(holder); }
  };
  startAll(document);
  document.body.addEventListener("htmx:afterSettle", () => startAll(document));
})();
