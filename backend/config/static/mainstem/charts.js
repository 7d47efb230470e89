// uPlot with our colours: the learning curve, the seconds of the phases. Follows the theme and the window's width.
/* global uPlot */

const HEIGHT = 240;
const MOST_POINTS = 200;
const MOST_DOTS = 26; // a longer line is clearer without

/** A colour of the style sheet as the browser resolves it (`light-dark()` included). */
export function colour(name) {
  const probe = document.createElement("i");
  probe.className = `probe-${name}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function axes(count) {
  const ink = colour("soft");
  const line = colour("line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
  const whole = (_, splits) => splits.map((value) => (Number.isInteger(value) ? value : null));
  return [{ ...axis, size: 34, grid: { show: false }, values: whole, incrs: [1, 2, 5, 10, 20, 50, 100] }, { ...axis, size: count }];
}

export class Chart {
  /** `series`: [{label, colour, width, points}]; the first data row is x. */
  constructor(box, series, { least = null, step = false } = {}) {
    this.box = box;
    this.series = series;
    this.least = least;
    this.data = [[], ...series.map(() => [])];
    this.#build();
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(box);
    document.addEventListener("mainstem:theme", () => this.#build());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  #size() {
    return { width: Math.max(240, this.box.clientWidth - 32), height: HEIGHT };
  }

  #fit() {
    const size = this.#size();
    if (size.width !== this.plot.width) this.plot.setSize(size);
  }

  #build() {
    this.plot?.destroy();
    const series = this.series.map((one) => ({
      label: one.label,
      stroke: colour(one.colour),
      width: one.width ?? 1.5,
      spanGaps: true,
      points: { show: (plot) => plot.data[0].length < (one.points ? MOST_DOTS : 3), size: 6 },
      value: (_, value) => (value == null ? "–" : value.toPrecision(4)),
    }));
    const least = this.least;
    const range = (_, low, high) => {
      if (low == null) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      return [least ?? low - room, high + room];
    };
    const options = {
      ...this.#size(),
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { range } },
      axes: axes(52),
      series: [{ label: "round" }, ...series],
      hooks: { setCursor: [(plot) => this.#tell(plot)] },
    };
    this.plot = new uPlot(options, this.data, this.box);
    this.tip ??= this.box.appendChild(Object.assign(document.createElement("p"), { className: "tip" }));
    this.box.append(this.tip);
  }

  #tell(plot) {
    const index = plot.cursor.idx;
    if (index == null) {
      this.tip.textContent = "";
      return;
    }
    const y = plot.posToVal(plot.cursor.top, "y");
    const near = this.data.slice(1)
      .map((values, at) => ({ label: this.series[at].label, value: values[index] }))
      .filter((one) => one.value != null)
      .sort((a, b) => Math.abs(a.value - y) - Math.abs(b.value - y))
      .slice(0, 3)
      .map((one) => `${one.label} ${one.value.toPrecision(4)}`);
    this.tip.textContent = near.length ? `round ${this.data[0][index]}: ${near.join(", ")}` : "";
  }

  set(data) {
    this.data = data;
    this.plot.setData(data);
  }

  /** Adds a point at x (or changes it); `values` by label. The oldest point goes when there are too many. */
  put(x, values) {
    let at = this.data[0].lastIndexOf(x);
    if (at < 0) {
      at = this.data[0].push(x) - 1;
      this.data.slice(1).forEach((row) => row.push(null));
    }
    this.series.forEach((one, index) => {
      if (one.label in values) this.data[index + 1][at] = values[one.label];
    });
    if (this.data[0].length > MOST_POINTS) this.data.forEach((row) => row.shift());
    this.plot.setData(this.data);
  }
}

export const GLOBAL = "global model";

/** The learning curve of `clients` and the global model. */
export function learning(box, clients) {
  const faint = clients.map((client) => ({ label: client, colour: "faint", width: clients.length > 20 ? 0.75 : 1.25 }));
  return new Chart(box, [...faint, { label: GLOBAL, colour: "stem", width: 2.75, points: true }]);
}

export function phases(box) {
  return new Chart(box, [
    { label: "train", colour: "k1", width: 2, points: true },
    { label: "upload", colour: "k2", width: 2, points: true },
    { label: "commit", colour: "k3", width: 2, points: true },
  ], { least: 0 });
}
