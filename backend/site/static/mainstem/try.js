// Tries a version: a drawing or typed values become one sample, REST predicts, bars show what the model says.

const GRID = 8; // the sample digits are 8 x 8 counts of ink, enlarged
const BOX = 20; // MNIST's digits fit a box of 20 in 28
const PEN = 34; // of a sheet of 280: as thick as the sample digits are
const MOST_BARS = 100;

const place = document.getElementById("try");
const button = document.getElementById("try-predict");
if (place && button) begin();

function begin() {
  const shape = place.dataset.shape.split(" ").filter(Boolean).map(Number);
  const sides = place.dataset.sides ? place.dataset.sides.split(" ").map(Number) : null;
  const values = document.getElementById("try-values");
  const told = document.getElementById("try-told");
  const sheet = sides ? drawing(sides, shape, values) : null;
  button.addEventListener("click", () => predict(shape, values, sheet));
  document.getElementById("try-take").addEventListener("click", async () => {
    told.textContent = "Looking for a sample…";
    try {
      const answer = await fetch(place.dataset.sample);
      const found = await answer.json();
      if (!answer.ok) { told.textContent = found.detail; return; }
      values.value = JSON.stringify(found.values);
      told.textContent = `A sample with the label ${found.label}, from ${found.place}.`;
      sheet?.showValues();
    } catch { told.textContent = "The server does not answer."; }
  });
}

// ------------------------------------------------------------ drawing
function drawing([height, width, channels], shape, values) {
  const canvas = document.getElementById("try-canvas");
  const seen = document.getElementById("try-seen");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const fit = document.getElementById("try-fit");
  const top = document.getElementById("try-top");
  let drawn = false;
  let last = null;
  seen.width = width;
  seen.height = height;
  if (width !== height) fit.value = "none";
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "#fff";

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(last);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) stroke(at(part));
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { if (last) { last = null; take(); } });

  function stroke(point) {
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...point);
    pen.stroke();
    last = point;
    drawn = true;
  }

  /** The sheet as ink 0..1, row by row. */
  function ink() {
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    return Float64Array.from({ length: data.length / 4 }, (_, index) => data[4 * index + 3] / 255);
  }

  function take() {
    if (!drawn) return;
    const picture = fitted(fit.value, { cells: ink(), width: canvas.width, height: canvas.height }, width, height);
    const scale = Number(top.value);
    const flat = [...picture].flatMap((value) => Array(channels).fill(Math.round(value * scale * 1e4) / 1e4));
    values.value = JSON.stringify(nested(flat, shape));
    showValues();
  }

  function showValues() {
    const context = seen.getContext("2d");
    const image = context.createImageData(width, height);
    let flat;
    try { flat = JSON.parse(values.value || "[]").flat(Infinity).map(Number); } catch { return; }
    if (flat.length !== width * height * channels) { context.clearRect(0, 0, width, height); return; }
    const most = Math.max(...flat) > 1 ? Math.max(...flat, 16) : 1;
    for (let cell = 0; cell < width * height; cell += 1) {
      for (let colour = 0; colour < 3; colour += 1) {
        image.data[4 * cell + colour] = (255 * flat[cell * channels + Math.min(colour, channels - 1)]) / most;
      }
      image.data[4 * cell + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  document.getElementById("try-clear").addEventListener("click", () => {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    values.value = "";
    drawn = false;
    document.getElementById("try-told").textContent = "";
    seen.getContext("2d").clearRect(0, 0, width, height);
  });
  fit.addEventListener("change", take);
  top.addEventListener("change", take);
  values.addEventListener("change", showValues);
  return { showValues };
}

// ------------------------------------------------------------ pictures: {cells, width, height}, ink 0..1
function fitted(how, sheet, width, height) {
  if (how === "none") return resized(sheet, 0, 0, sheet.width, sheet.height, width, height);
  const box = bounds(sheet);
  if (box === null) return new Float64Array(width * height);
  const side = Math.max(box.width, box.height);
  const upper = box.top - (side - box.height) / 2;
  if (how === "digits") {
    const wide = Math.min(side, 2 * box.width); // narrow digits are wider there than they were written
    const small = resized(sheet, box.left - (wide - box.width) / 2, upper, wide, side, GRID, GRID);
    return width === GRID && height === GRID ? small : enlarged(small, GRID, width, height);
  }
  const left = box.left - (side - box.width) / 2;
  const inner = Math.round((BOX * Math.min(width, height)) / 28);
  return centred(resized(sheet, left, upper, side, side, inner, inner), inner, width, height);
}

function bounds({ cells, width, height }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (cells[y * width + x] < 0.1) continue;
      left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** The mean ink of each of columns x rows parts of a window; outside of the sheet there is none. */
function resized({ cells, width, height }, left, top, wide, tall, columns, rows) {
  const result = new Float64Array(columns * rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [x0, x1] = [left + (column * wide) / columns, left + ((column + 1) * wide) / columns];
      const [y0, y1] = [top + (row * tall) / rows, top + ((row + 1) * tall) / rows];
      let [sum, count] = [0, 0];
      for (let y = Math.floor(y0); y < Math.max(y1, Math.floor(y0) + 1); y += 1) {
        for (let x = Math.floor(x0); x < Math.max(x1, Math.floor(x0) + 1); x += 1) {
          count += 1;
          if (x >= 0 && y >= 0 && x < width && y < height) sum += cells[y * width + x];
        }
      }
      result[row * columns + column] = sum / count;
    }
  }
  return result;
}

/** Bilinear between the centres of the cells, edges held: as `mainstem inject` enlarges its digits. */
function enlarged(small, size, width, height) {
  const axis = (length) => Array.from({ length }, (_, index) => {
    const centre = Math.min(Math.max(((index + 0.5) * size) / length - 0.5, 0), size - 1);
    const low = Math.min(Math.floor(centre), size - 2);
    return [low, centre - low];
  });
  const [columns, rows] = [axis(width), axis(height)];
  const result = new Float64Array(width * height);
  rows.forEach(([y, down], row) => columns.forEach(([x, along], column) => {
    const cell = (dx, dy) => small[(y + dy) * size + x + dx];
    const upper = cell(0, 0) * (1 - along) + cell(1, 0) * along;
    const lower = cell(0, 1) * (1 - along) + cell(1, 1) * along;
    result[row * width + column] = upper * (1 - down) + lower * down;
  }));
  return result;
}

/** A square picture put so that its centre of weight is the middle. */
function centred(picture, size, width, height) {
  let [sum, sx, sy] = [0, 0, 0];
  picture.forEach((value, index) => { sum += value; sx += value * (index % size); sy += value * Math.floor(index / size); });
  const left = Math.round((width - 1) / 2 - (sum ? sx / sum : size / 2));
  const top = Math.round((height - 1) / 2 - (sum ? sy / sum : size / 2));
  const result = new Float64Array(width * height);
  picture.forEach((value, index) => {
    const [x, y] = [left + (index % size), top + Math.floor(index / size)];
    if (x >= 0 && y >= 0 && x < width && y < height) result[y * width + x] = value;
  });
  return result;
}

/** A flat list as nested lists of a shape. */
function nested(flat, shape) {
  if (shape.length < 2) return shape.length ? flat : flat[0];
  const size = flat.length / shape[0];
  return Array.from({ length: shape[0] }, (_, index) => nested(flat.slice(index * size, (index + 1) * size), shape.slice(1)));
}

// ------------------------------------------------------------ asking
function sampleOf(values, shape) {
  if (!values.value.trim()) throw new Error("There is no sample yet: draw one, fill in its values, or take one of the data.");
  let sample;
  try { sample = JSON.parse(values.value); } catch (error) { throw new Error(`The values are not JSON: ${error.message}.`); }
  const size = shape.reduce((product, part) => product * part, 1);
  const flat = Array.isArray(sample) && sample.every((value) => typeof value === "number");
  return flat && sample.length === size ? nested(sample, shape) : sample;
}

async function predict(shape, values, sheet) {
  const result = document.getElementById("try-result");
  let inputs;
  try { inputs = [sampleOf(values, shape)]; } catch (error) { complain(result, error.message); return; }
  sheet?.showValues();
  button.disabled = true;
  result.setAttribute("aria-busy", "true");
  const began = performance.now();
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", "The model is being asked");
  const clock = document.createElement("p");
  clock.className = "soft";
  const tick = () => { clock.textContent = `The model is being asked… ${((performance.now() - began) / 1000).toFixed(1)} s`; };
  tick();
  const ticking = setInterval(tick, 100);
  result.replaceChildren(bar, clock);
  try {
    const answer = await fetch(place.dataset.predict, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...JSON.parse(document.body.getAttribute("hx-headers")) },
      body: JSON.stringify({ inputs }),
    });
    const said = await answer.json();
    if (answer.ok) show(result, said.outputs[0], (performance.now() - began) / 1000);
    else complain(result, said.detail ?? `The server answered ${answer.status}.`);
  } catch { complain(result, "The server does not answer."); } finally {
    clearInterval(ticking);
    button.disabled = false;
    result.removeAttribute("aria-busy");
  }
}

function complain(result, text) {
  const note = document.createElement("p");
  note.className = "note bad";
  note.textContent = text;
  result.replaceChildren(note);
}

// ------------------------------------------------------------ showing
function show(result, output, seconds) {
  const took = document.createElement("p");
  took.className = "soft";
  took.textContent = `Answered in ${seconds.toFixed(1)} s.`;
  const flat = Array.isArray(output) ? output : [output];
  if (flat.some(Array.isArray) || flat.length > MOST_BARS) {
    const text = document.createElement("pre");
    text.className = "log";
    text.textContent = JSON.stringify(output, null, 1);
    result.replaceChildren(text, took);
    return;
  }
  const winner = flat.indexOf(Math.max(...flat));
  const shares = flat.length > 1 && flat.every((value) => value >= 0 && value <= 1.0001) && Math.abs(flat.reduce((a, b) => a + b, 0) - 1) < 0.01;
  const text = (value) => (shares ? `${(100 * value).toFixed(1)} %` : Number(value).toPrecision(4));
  const says = document.createElement("p");
  says.className = "says";
  const name = document.createElement("b");
  name.id = "try-winner";
  name.textContent = flat.length > 1 ? String(winner) : text(flat[0]);
  says.append("It says ", name, ...(flat.length > 1 ? [` with ${text(flat[winner])}`] : []));
  result.replaceChildren(says, bars(flat, winner, text), took);
}

function bars(flat, winner, text) {
  const most = Math.max(...flat.map(Math.abs), Number.EPSILON);
  const table = document.createElement("table");
  table.className = "bars";
  const caption = document.createElement("caption");
  caption.className = "hush";
  caption.textContent = "The model's outputs";
  const body = document.createElement("tbody");
  flat.forEach((value, index) => {
    const row = body.insertRow();
    if (index === winner && flat.length > 1) row.className = "winner";
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = String(index);
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.setProperty("width", `${(100 * Math.abs(value)) / most}%`);
    row.append(head);
    row.insertCell().append(bar);
    row.insertCell().textContent = text(value);
  });
  table.append(caption, body);
  return table;
}
