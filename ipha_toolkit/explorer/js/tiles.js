// From a number to its voxels in exported pages. Codes say of every voxel which part of the lung it is (1 lung, 2 left,
// 4 8 12 upper middle lower, 16 central, 32 dorsal) and which measures count it (a bit a measure): those of a small picture
// lie in the red and green of a second one (explorer/tiles.py), those of whole images in a packed image, from 64 on
// (explorer/slices.py).
import {make} from "../../viewer/js/dom.js";
import {number} from "../../viewer/js/marks.js";
import {ExportSource} from "../../viewer/js/sources.js";
import {CONTROL_SCORE, spoken} from "./cohort.js";

const WITHOUT_VESSELS = ["ground_glass_fraction", "consolidation_fraction"];
const SCALE = 2, FAINT = [86, 180, 233, 90], EDGE = [86, 180, 233, 255], INSIDE = [230, 159, 0, 150], FOUND = "#f0e442";
const ONE_SIDE = {central: (r) => r & 16, lower: (r) => (r & 12) === 12, dorsal: (r) => r & 32, right: (r) => !(r & 2)};
const PARTS = {
  lung: () => true, left: (r) => r & 2, right: (r) => !(r & 2), upper: (r) => (r & 12) === 4, middle: (r) => (r & 12) === 8, lower: (r) => (r & 12) === 12,
  central: (r) => r & 16, peripheral: (r) => !(r & 16), dorsal: (r) => r & 32, ventral: (r) => !(r & 32),
};
// Whether a pixel of the lung belongs to a region; `right_upper` is both.
const member = (region) => {
  const tests = (PARTS[region] ? [region] : region.split("_")).map((name) => PARTS[name] ?? PARTS.lung);
  return (r) => (r & 1) === 1 && tests.every((test) => test(r));
};
const excess = (measure) => ONE_SIDE[/_(central|lower|dorsal|right)_excess$/.exec(measure)?.[1]];

// What a number is made of in one image: whether a code's part belongs to it, and the bit of its measure, or -1.
function rule({modality, measure, region}, image, cuts) {
  const bare = measure.replace(CONTROL_SCORE, ""), own = modality.split("+").includes(image), side = own && excess(bare);
  return {own, bare, bit: own ? cuts.indexOf(bare) : -1, inside: side ? (r) => (r & 1) === 1 && side(r) : member(own ? region : "lung")};
}

// Writes the voxels of a number into the layers of a viewer that hold them, and says what they are.
export class FullVoxels {
  constructor(viewer, codes) {
    this.viewer = viewer;
    this.images = codes.map((image) => ({...image, source: new ExportSource([image.packed], () => this.paint())}));
    this.nodules = viewer.get("_nodules");
  }
  close() {
    this.closed = true;
    for (const {source} of this.images) source.close();
  }
  show(column) {
    this.column = column;
    const {overlays, state} = this.viewer.scene, cut = this.images.some(({modality, cuts}) => rule(column, modality, cuts).bit >= 0);
    const visible = state.get("visible").map((on, n) => (overlays[n].name === "lung" ? !cut : this.images.some(({layer}) => layer === overlays[n].number) || on));
    state.set({mask_style: cut ? "fill" : "outline", opacity: cut ? 0.4 : 0.5, visible, _nodules: /^(micro)?nodule/.test(column.measure) ? this.nodules : []});
    this.paint();
  }
  paint() {
    const {source} = this.viewer;
    if (!this.column || this.closed || !source.layers) return;
    const pairs = this.images.map((image) => ({...image, codes: image.source.layers[0], shown: source.layers[image.layer]}));
    if (!pairs.every(({codes, shown}) => codes.ready.every(Boolean) && shown.ready.every(Boolean))) return void setTimeout(() => this.paint(), 60);
    const said = pairs.map((pair) => this.fill(pair)).filter(Boolean);
    source.cache.map.clear();
    source.cache.bytes = 0;
    this.viewer.painter.forget();
    this.viewer.redraw();
    this.onWords?.(`${said.join("; ")}.`);
  }
  fill({modality, cuts, codes, shown}) {
    const {own, bit, inside, bare} = rule(this.column, modality, cuts), across = shown.shape[0] * shown.shape[1], bySlice = new Array(shown.shape[2]).fill(0);
    let all = 0, counted = 0;
    for (let p = 0; p < codes.data.length; p++) {
      const code = codes.data[p] - 1, there = code > 0 && own && inside(code & 63), on = there && (bit < 0 || (code >> (6 + bit)) & 1);
      shown.data[p] = on ? 2 : 0;
      if (there) all++;
      if (on) { counted++; bySlice[(p / across) | 0]++; }
    }
    if (!own) return "";
    this.reveal(shown.grid, bySlice);
    const where = `${this.column.region === "lung" ? "the lung" : `the lung's ${spoken(this.column.region)} part`} in ${modality}`;
    return bit < 0 ? `Outlined: ${where}, of which all voxels count` : `Coloured: ${counted} of ${all} voxels of ${where} (${all ? number((100 * counted) / all) : 0} %) count for ${spoken(bare)}${WITHOUT_VESSELS.includes(bare) ? ", whose share is of the lung without its vessels" : ""}`;
  }
  // Where the slice shown holds none of the voxels, go to the one with most of them.
  reveal(grid, bySlice) {
    const {state} = this.viewer, at = grid.index(state.get("position_mm")), most = Math.max(...bySlice);
    if (!most || bySlice[grid.nearest(state.get("position_mm"), 2)]) return;
    state.setPosition(grid.world([at[0], at[1], bySlice.indexOf(most)]));
  }
}

function loaded(address) {
  const picture = make("img", {src: address});
  return picture.decode().then(() => picture);
}

// A canvas with the tile and what the number shown was made of, and words for it.
export async function drawTile(tile, {modality, measure, region}, name) {
  const [picture, codes] = await Promise.all([loaded(tile.picture), loaded(tile.codes)]);
  const canvas = make("canvas", {width: picture.width * SCALE, height: picture.height * SCALE, className: "ipha-tile", role: "img"}), pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const bare = measure.replace(CONTROL_SCORE, ""), images = modality.split("+"), said = [], [w, h] = [codes.width, codes.height], coded = pixelsOf(codes), step = canvas.height / h;
  for (const panel of tile.panels) {
    const {own, bit, inside} = rule({modality, measure, region}, panel.modality, panel.cuts), cut = bit >= 0, x0 = Math.floor(panel.x / 2), x1 = Math.min(w, x0 + (panel.width >> 1));
    const lung = (x, y) => x >= x0 && x < x1 && y >= 0 && y < h && (coded[4 * (y * w + x)] & 1) === 1;
    const there = (x, y) => x >= x0 && x < x1 && y >= 0 && y < h && inside(coded[4 * (y * w + x)]);
    let all = 0, counted = 0;
    for (let y = 0; y < h; y++)
      for (let x = x0; x < x1; x++) {
        if (lung(x, y)) edges(pen, FAINT, lung, x, y, step);
        if (!there(x, y)) continue;
        all++;
        if (cut && (coded[4 * (y * w + x) + 1] >> bit) & 1) { counted++; fill(pen, INSIDE, x * step, y * step, step, step); }
        edges(pen, EDGE, there, x, y, step);
      }
    if (own && bare.startsWith("nodule")) circles(pen, panel);
    said.push(`${panel.modality} ${panel.plane} at ${panel.place}` + (cut && all ? `: ${Math.round((100 * counted) / all)} % of ${region === "lung" ? "the lung" : spoken(region)} in this slice counted` : ""));
    label(pen, panel);
  }
  canvas.setAttribute("aria-label", `${name}: ${said.join("; ")}`);
  canvas.style.maxWidth = `min(100%, ${picture.width * SCALE}px)`;
  const marked = tile.panels.some((panel) => images.includes(panel.modality) && panel.cuts.includes(bare));
  return {canvas, words: `Small picture of ${said.length} slices; the patient's right on the left. Blue: ${region === "lung" ? "the lung" : `lung, ${spoken(region)}`}.${marked ? ` Orange: counted as ${spoken(bare)}.` : ""} ${said.join("; ")}.`};
}

function pixelsOf(picture) {
  const canvas = make("canvas", {width: picture.width, height: picture.height}), pen = canvas.getContext("2d", {willReadFrequently: true});
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, picture.width, picture.height).data;
}
function fill(pen, [r, g, b, a], x, y, w, h) {
  pen.fillStyle = `rgba(${r},${g},${b},${a / 255})`;
  pen.fillRect(x, y, w, h);
}
function edges(pen, ink, there, x, y, s) {
  if (!there(x - 1, y)) fill(pen, ink, x * s, y * s, 1.5, s);
  if (!there(x + 1, y)) fill(pen, ink, (x + 1) * s - 1.5, y * s, 1.5, s);
  if (!there(x, y - 1)) fill(pen, ink, x * s, y * s, s, 1.5);
  if (!there(x, y + 1)) fill(pen, ink, x * s, (y + 1) * s - 1.5, s, 1.5);
}
function circles(pen, panel) {
  pen.strokeStyle = FOUND;
  pen.lineWidth = 2;
  for (const [x, y, r] of panel.nodules) {
    pen.beginPath();
    pen.arc((panel.x + x) * SCALE, y * SCALE, r * SCALE, 0, 2 * Math.PI);
    pen.stroke();
  }
}
function label(pen, panel) {
  pen.font = "15px system-ui, sans-serif";
  pen.lineWidth = 3;
  pen.strokeStyle = "#000";
  pen.fillStyle = "#fff";
  const at = [panel.modality, (panel.x + 3) * SCALE, 17];
  pen.strokeText(...at);
  pen.fillText(...at);
}
