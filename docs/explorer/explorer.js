/* The explorer: two latent planes side by side, decoded live. No library, no server.

   The first half computes and knows nothing of the page; the second half draws. */
"use strict";

/* ---- What computes ---- */

/** Numbers from little-endian 16-bit floats in base64. */
function numbersOfHalfFloats(base64) {
  const text = atob(base64);
  const numbers = new Float32Array(text.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const bits = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8);
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    numbers[i] =
      exponent === 0
        ? sign * fraction * 2 ** -24
        : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return numbers;
}

/** A network of the data file with its weights as one kernel and bias for each dense layer. */
function readNetwork(stored) {
  const weights = numbersOfHalfFloats(stored.weights);
  const layers = [];
  let from = 0;
  for (const [inputs, units] of stored.shapes) {
    const kernel = weights.subarray(from, from + inputs * units);
    const bias = weights.subarray(from + inputs * units, from + inputs * units + units);
    layers.push({ inputs, units, kernel, bias });
    from += inputs * units + units;
  }
  const flat = numbersOfHalfFloats(stored.codes);
  const codes = [];
  for (let i = 0; i < flat.length; i += 2) codes.push([flat[i], flat[i + 1]]);
  return { name: stored.name, beta: stored.beta, layers, codes };
}

/** The 784 pixels that the decoder gives for one code: ReLU in between, a sigmoid at the end. */
function decode(network, z) {
  let values = z;
  network.layers.forEach((layer, index) => {
    const last = index === network.layers.length - 1;
    const next = new Float32Array(layer.bias);
    for (let i = 0; i < layer.inputs; i++) {
      if (values[i] === 0) continue;
      for (let j = 0; j < layer.units; j++) next[j] += values[i] * layer.kernel[i * layer.units + j];
    }
    for (let j = 0; j < layer.units; j++) {
      next[j] = last ? 1 / (1 + Math.exp(-next[j])) : Math.max(0, next[j]);
    }
    values = next;
  });
  return values;
}

/** One draw from N(0, I) in two dimensions (Box and Muller). */
function drawFromPrior(random = Math.random) {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  const angle = 2 * Math.PI * random();
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** `count` codes on the straight line from a to b, both included. */
function codesBetween(a, b, count) {
  return Array.from({ length: count }, (_, k) => {
    const share = k / (count - 1);
    return [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
  });
}

/** The square part of the plane that shows all codes and the circle of N(0, I). */
function windowOf(codes) {
  const corners = [[-3, -3], [3, 3], ...codes];
  const low = [0, 1].map((axis) => Math.min(...corners.map((z) => z[axis])));
  const high = [0, 1].map((axis) => Math.max(...corners.map((z) => z[axis])));
  const side = 1.06 * Math.max(high[0] - low[0], high[1] - low[1]);
  const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  return { left: middle[0] - side / 2, bottom: middle[1] - side / 2, side };
}

/** The number of the code that is nearest to z. */
function nearest(codes, z) {
  const distance = (c) => (c[0] - z[0]) ** 2 + (c[1] - z[1]) ** 2;
  return codes.reduce((best, c, k) => (distance(c) < distance(codes[best]) ? k : best), 0);
}

if (typeof module !== "undefined") {
  module.exports = { numbersOfHalfFloats, readNetwork, decode, drawFromPrior, codesBetween, windowOf, nearest };
}

/* ---- What draws ---- */

// The ten colours of the course's figures.
const COLORS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const RADIUS_OF_95_PERCENT = 2.4477; // of N(0, I) in two dimensions
const PLANE = 360; // pixels of the canvas
const STRIP = 10;

/** Draws 28 × 28 pixels, ink black on white. */
function paintDigit(canvas, pixels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  for (let i = 0; i < 784; i++) {
    const grey = 255 * (1 - pixels[i]);
    image.data.set([grey, grey, grey, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** One latent plane with the digit that is decoded at its marker. */
class Pane {
  constructor(title, network, labels) {
    this.title = title;
    this.labels = labels;
    this.plane = element("canvas", { width: PLANE, height: PLANE, tabindex: 0, role: "application" });
    this.digit = element("canvas", { width: 28, height: 28, class: "digit", role: "img" });
    this.heading = element("h3", {});
    this.readout = element("p", { class: "readout", "aria-live": "polite" });
    this.end = element("button", { type: "button" }, "Take this digit as an end of a path");
    this.strip = element("div", { class: "strip" });
    this.box = element("section", { class: "pane" }, this.heading, this.plane, element("div", { class: "beside" }, this.digit, element("div", {}, this.readout, this.end)), this.strip);
    this.dots = [];
    this.line = null;
    this.show(network);
    this.listen();
  }

  /** Takes another network; the marker goes to the code of the first test digit. */
  show(network) {
    this.network = network;
    this.window = windowOf(network.codes);
    this.dots = [];
    this.line = null;
    this.strip.replaceChildren();
    this.heading.textContent = this.title(network);
    const keys = "Arrow keys move the point, Enter takes the nearest test digit as an end of a path.";
    this.plane.setAttribute("aria-label", `Latent plane of the ${this.title(network)}. ${keys}`);
    this.background = this.paintBackground();
    this.moveTo(network.codes[0]);
  }

  toCanvas(z) {
    const { left, bottom, side } = this.window;
    return [((z[0] - left) / side) * PLANE, PLANE - ((z[1] - bottom) / side) * PLANE];
  }

  toCode(x, y) {
    const { left, bottom, side } = this.window;
    return [left + (x / PLANE) * side, bottom + ((PLANE - y) / PLANE) * side];
  }

  /** The codes and the circle, which stay while the marker moves. */
  paintBackground() {
    const canvas = element("canvas", { width: PLANE, height: PLANE });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, PLANE, PLANE);
    this.network.codes.forEach((z, k) => {
      const [x, y] = this.toCanvas(z);
      context.fillStyle = COLORS[this.labels[k]];
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    });
    const [x, y] = this.toCanvas([0, 0]);
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, (RADIUS_OF_95_PERCENT / this.window.side) * PLANE, 0, 2 * Math.PI);
    context.stroke();
    return canvas;
  }

  paint() {
    const context = this.plane.getContext("2d");
    context.drawImage(this.background, 0, 0);
    context.strokeStyle = context.fillStyle = "black";
    context.lineWidth = 1.5;
    if (this.line) {
      context.beginPath();
      for (const z of this.line) context.lineTo(...this.toCanvas(z));
      context.stroke();
    }
    for (const z of this.dots) {
      const [x, y] = this.toCanvas(z);
      context.fillRect(x - 2.5, y - 2.5, 5, 5);
    }
    const [x, y] = this.toCanvas(this.z);
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.fillStyle = "white";
    context.fill();
    context.stroke();
  }

  /** Moves the marker and decodes; the page is drawn once before it is shown next. */
  moveTo(z) {
    const { left, bottom, side } = this.window;
    const inside = (value, low) => Math.min(Math.max(value, low), low + side);
    this.z = [inside(z[0], left), inside(z[1], bottom)];
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
      paintDigit(this.digit, decode(this.network, this.z));
      const label = this.labels[nearest(this.network.codes, this.z)];
      const place = this.z.map((value) => value.toFixed(2)).join(", ");
      this.readout.textContent = `z = (${place}); the nearest test digit is a ${label}`;
      this.digit.setAttribute("aria-label", `The digit decoded at z = (${place})`);
    });
  }

  /** Shows a row of decoded codes under the plane. */
  showStrip(codes) {
    const digits = codes.map((z) => {
      const canvas = element("canvas", { width: 28, height: 28, role: "img", "aria-label": "decoded digit" });
      paintDigit(canvas, decode(this.network, z));
      return canvas;
    });
    this.strip.replaceChildren(...digits);
  }

  showDraws(codes) {
    this.dots = codes;
    this.line = null;
    this.showStrip(codes);
    this.moveTo(this.z);
  }

  /** Takes the nearest test digit as an end; the second end draws the path. */
  chooseEnd() {
    const end = this.network.codes[nearest(this.network.codes, this.z)];
    if (this.dots.length !== 1) {
      this.dots = [end];
      this.line = null;
      this.strip.replaceChildren();
    } else {
      this.line = codesBetween(this.dots[0], end, STRIP);
      this.dots = [this.dots[0], end];
      this.showStrip(this.line);
    }
    this.moveTo(end);
  }

  listen() {
    const follow = (event) => {
      const place = this.plane.getBoundingClientRect();
      const scale = PLANE / place.width;
      this.moveTo(this.toCode((event.clientX - place.left) * scale, (event.clientY - place.top) * scale));
    };
    this.plane.addEventListener("pointermove", follow);
    this.plane.addEventListener("pointerdown", follow);
    this.plane.addEventListener("dblclick", () => this.chooseEnd());
    this.end.addEventListener("click", () => this.chooseEnd());
    this.plane.addEventListener("keydown", (event) => {
      const step = this.window.side / 50;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowDown: [0, -step], ArrowUp: [0, step] };
      if (event.key in moves) {
        const [right, up] = moves[event.key];
        this.moveTo([this.z[0] + right, this.z[1] + up]);
      } else if (event.key === "Enter") {
        this.chooseEnd();
      } else {
        return;
      }
      event.preventDefault();
    });
  }
}

function legend() {
  const entries = COLORS.map((color, label) => {
    const dot = element("span", { class: "dot", style: `background: ${color}` });
    return element("li", {}, dot, String(label));
  });
  return element("ul", { class: "legend", "aria-label": "Colours of the labels" }, ...entries);
}

function start(root, data) {
  const networks = data.networks.map(readNetwork);
  const vaes = networks.filter((network) => network.name === "VAE");
  const one = vaes.findIndex((network) => network.beta === 1);
  const autoencoder = new Pane(() => "autoencoder", networks[0], data.labels);
  const vae = new Pane((network) => `VAE, beta = ${network.beta}`, vaes[one], data.labels);

  const slider = element("input", { type: "range", min: 0, max: vaes.length - 1, step: 1, value: one, id: "beta" });
  slider.addEventListener("input", () => vae.show(vaes[Number(slider.value)]));
  const beta = element("label", { for: "beta" }, "beta of the VAE: ", String(vaes[0].beta), " ", slider, " ", String(vaes.at(-1).beta));
  const draw = element("button", { type: "button" }, "20 draws from N(0, I)");
  draw.addEventListener("click", () => {
    const codes = Array.from({ length: 20 }, () => drawFromPrior());
    autoencoder.showDraws(codes);
    vae.showDraws(codes);
  });

  root.append(element("div", { class: "controls" }, draw, beta), element("div", { class: "panes" }, autoencoder.box, vae.box), legend());
}

if (typeof document !== "undefined") {
  document.addEventListener("DOMContentLoaded", () => start(document.getElementById("explorer"), EXPLORER_DATA));
}
