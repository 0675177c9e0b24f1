// Small pictures of sessions, drawn with the voxels of the number shown: a second picture says of every pixel which part
// of the lung it is (red: 1 lung, 2 left, 4 8 12 upper middle lower, 16 central, 32 dorsal) and which measures count it
// (green: a bit a measure). explorer/tiles.py makes both.
import {make} from "../../viewer/js/dom.js";
import {CONTROL_SCORE, spoken} from "./cohort.js";

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
    const own = images.includes(panel.modality), bit = panel.cuts.indexOf(bare), cut = own && bit >= 0, side = excess(bare);
    const inside = side && own ? (r) => (r & 1) === 1 && side(r) : member(own ? region : "lung"), x0 = Math.floor(panel.x / 2), x1 = Math.min(w, x0 + (panel.width >> 1));
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
