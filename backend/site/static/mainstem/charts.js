// uPlot with our colours: the learning curve, the seconds of the phases. Follows the theme and the window's width.
/* global uPlot */

const HEIGHT = 240;
const MOST_POINTS = 800; // the server draws half as many; beyond, it is asked again
const NAMED = 2; // clients that the hover names beside the global model
const STEPS = [1, 10, 100, 1000, 10_000, 100_000].flatMap((ten) => [ten, 2 * ten, 5 * ten]); // of rounds, whole ones
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
  return [{ ...axis, size: 34, grid: { show: false }, values: whole, incrs: STEPS }, { ...axis, size: count }];
}

export class Chart {
  /**
   * `series`: [{label, colour, width, points, always}]; the first data row is x. The hover tells those that are
   * `always` told and the nearest of the others. `bands` are uPlot's; `chosen(first, last)` gets the rounds over which
   * a person drags.
   */
  constructor(box, series, { bands = [], chosen = null } = {}) {
    this.box = box;
    this.series = series;
    this.bands = bands;
    this.chosen = chosen;
    this.data = [[], ...series.map(() => [])];
    this.#build();
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(box);
    const { signal } = (this.gone = new AbortController());
    document.addEventListener("mainstem:theme", () => this.#build(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build(), { signal });
  }

  /** Ends it, where its box was taken from the page. */
  close() {
    this.gone.abort();
    this.observer.disconnect();
    this.plot.destroy();
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
    const range = (_, low, high) => {
      if (low == null) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      return [low < 0 ? low - room : Math.max(0, low - room), high + room]; // what is never negative has no such axis
    };
    const options = {
      ...this.#size(),
      padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: Boolean(this.chosen), y: false, setScale: false }, points: { size: 7 } },
      bands: this.bands.map((band) => ({ ...band, fill: colour("wash") })),
      scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { range } },
      axes: axes(52),
      series: [{ label: "round" }, ...series],
      hooks: { setCursor: [(plot) => this.#tell(plot)], setSelect: [(plot) => this.#choose(plot)] },
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
    const there = this.series.map((one, at) => ({ ...one, value: this.data[at + 1][index] }));
    const near = there.filter((one) => !one.always && one.value != null)
      .sort((a, b) => Math.abs(a.value - y) - Math.abs(b.value - y))
      .slice(0, NAMED);
    const told = [...there.filter((one) => one.always), ...near]
      .map((one) => `${one.label} ${one.value == null ? "not measured" : one.value.toPrecision(4)}`);
    this.tip.textContent = told.length ? `round ${this.data[0][index]}: ${told.join(", ")}` : "";
  }

  #choose(plot) {
    if (plot.select.width < 4) return;
    const [first, last] = [plot.select.left, plot.select.left + plot.select.width].map((at) => plot.posToVal(at, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.chosen(Math.ceil(first), Math.floor(last));
  }

  set(data) {
    this.data = data;
    this.plot.setData(data);
  }

  /** Adds a point at x (or changes it); `values` by label. Whether there is room for another. */
  put(x, values) {
    let at = this.data[0].lastIndexOf(x);
    if (at < 0) {
      at = this.data[0].push(x) - 1;
      this.data.slice(1).forEach((row) => row.push(null));
    }
    this.series.forEach((one, index) => {
      if (one.label in values) this.data[index + 1][at] = values[one.label];
    });
    this.plot.setData(this.data);
    return this.data[0].length < MOST_POINTS;
  }
}

export const GLOBAL = "global model";
export const LOW = "lowest client";
export const HIGH = "highest client";

/** The learning curve of the global model and of `clients`: a line each, or (null) the band that they lie in. */
export function learning(box, clients, chosen = null) {
  const model = { label: GLOBAL, colour: "stem", width: 2.75, points: true, always: true };
  if (!clients) {
    const edge = { colour: "faint", width: 0.75, always: true };
    return new Chart(box, [{ ...edge, label: LOW }, { ...edge, label: HIGH }, model], { bands: [{ series: [2, 1] }], chosen });
  }
  const faint = clients.map((client) => ({ label: client, colour: "faint", width: clients.length > 20 ? 0.75 : 1.25 }));
  return new Chart(box, [...faint, model], { chosen });
}

/** The rows of such a chart from what the server told. */
export function rows(told) {
  const clients = told.band ? [told.band.low, told.band.high] : Object.values(told.clients);
  return [told.rounds, ...clients, told.global];
}

export function phases(box) {
  return new Chart(box, ["train", "upload", "commit"].map(
    (label, at) => ({ label, colour: `k${at + 1}`, width: 2, points: true, always: true }),
  ));
}
