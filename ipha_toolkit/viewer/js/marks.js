// What stands beside a slice, in letters, lengths and words. Python's marks.py says the same: tests hold both to one table.
import {PLANES} from "./geometry.js";

const ENDS = ["RL", "AP", "SI"], LENGTHS = [1, 2, 5, 10, 20, 50, 100];

// A number with so many decimals: halves away from zero, a true minus sign, no minus before a zero.
export function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

// A value for a reader: three figures or so, with its unit.
export function number(value, unit = "") {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.abs(value), digits = size >= 99.95 || Number.isInteger(value) ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
  return fixed(value, digits) + (unit && unit !== "1" ? ` ${unit}` : "");
}

// Letters of the patient's sides at the four borders of the picture.
export function letters(grid, plane) {
  const [c, r] = PLANES[plane];
  const ends = (axis) => {
    const d = [0, 1, 2].map((w) => grid.affine[4 * w + axis] / grid.spacing[axis]);
    const order = [0, 1, 2].filter((w) => Math.abs(d[w]) > 0.2).sort((p, q) => Math.abs(d[q]) - Math.abs(d[p]));
    return [0, 1].map((end) => order.map((w) => ENDS[w][d[w] > 0 ? end : 1 - end]).join(""));
  };
  const [left, right] = ends(c), [top, bottom] = ends(r);
  return {left, right, top, bottom};
}

// Scale bar of a picture so many mm wide: the longest round length below a quarter of it, and its label.
export function scaleBar(width) {
  const mm = LENGTHS.findLast((length) => length < width / 4) ?? 1;
  return {mm, label: mm >= 10 ? `${mm / 10} cm` : `${mm} mm`};
}

// Where a slice lies: its number from 1, of how many, at which coordinate, and how far from a place it does not reach.
export function place(grid, plane, position) {
  const n = PLANES[plane][2];
  return {number: grid.nearest(position, n) + 1, count: grid.shape[n], axis: "xyz"[n], at: position[n], away: grid.beyond(position, n)};
}

export const awayText = (away) => `nearest slice, ${number(away)} mm away`;
export const placeText = ({axis, at, number: n, count}) => `${axis} ${fixed(at, 1)} mm   ${n}/${count}`;
export const windowText = ([level, width], unit) => `L ${number(level)}  W ${number(width, unit)}`;
export const slabText = (slab, mm) => `${slab === "max" ? "MIP" : "minIP"} ${number(mm)} mm`;

export function describeSlice(name, grid, plane, position, [level, width], unit, loss = "") {
  const {number: n, count, axis, at, away} = place(grid, plane, position), side = letters(grid, plane).left;
  return `${name}, ${plane} slice ${n} of ${count} at ${axis} ${fixed(at, 1).replace("−", "-")} mm, patient's ${side} on the left of the picture; ` +
    `window level ${number(level)}, width ${number(width, unit)}` + (loss ? `; ${loss}` : "") + (away > 0 ? `; ${awayText(away)}` : "");
}

const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// Everything that is shown, in sentences: slices, visible overlays, what a threshold leaves, marks.
export function describe(slices, overlays, nodules, regions, thresholds = []) {
  const parts = [...slices];
  if (overlays.length) parts.push(`overlays: ${overlays.join(", ")}`);
  if (nodules) parts.push(`${counted(nodules, "nodule")} marked`);
  if (regions) parts.push(`${counted(regions, "region")} drawn`);
  return [...parts, ...thresholds].join(". ") + ".";
}

// Share of voxels at or above a threshold: exact at the edges, linear between them.
export function share(table, threshold) {
  const {edges, above} = table, n = edges.length - 1;
  if (!above[0]) return NaN;
  if (threshold <= edges[0]) return 1;
  if (threshold > edges[n]) return 0;
  const f = ((threshold - edges[0]) / (edges[n] - edges[0])) * n, lo = Math.min(Math.floor(f + 1e-9), n - 1);
  return (above[lo] + (f - lo) * (above[lo + 1] - above[lo])) / above[0];
}

export function shareText(table, threshold, unit) {
  const least = threshold ?? table.edges[0], part = share(table, least);
  return `${Number.isFinite(part) ? fixed(100 * part, 1) + " %" : "no voxel"} of ${table.region} at or above ${number(least, unit)}`;
}
