// @ts-check
/**
 * Paths of charts as SVG: in a square of 100 by 100, which the page stretches. `charts.py` draws
 * the same ones.
 */

/** Where on the axis, 0 to 100, and a value. @typedef {[number, number]} Point */

const MAX_BARS = 60;

/** With at most one decimal. @param {number} value */
export function number(value) {
  return String(Math.floor(value * 10 + 0.5) / 10);
}

/**
 * The area below a line; `ceiling` is the value at the top. Empty without an area.
 * @param {Point[]} points
 * @param {number} ceiling
 */
export function areaPath(points, ceiling) {
  if (!points.length || ceiling <= 0) return "";
  const line = points.map(([x, value]) => `${number(x)} ${height(value, ceiling)}`).join("L");
  return `M${number(points[0][0])} 100L${line}L${number(points[points.length - 1][0])} 100Z`;
}

/**
 * The area below values that hold until the next one, the last one to the end.
 * @param {Point[]} points
 * @param {number} ceiling
 */
export function stepsPath(points, ceiling) {
  if (!points.length || ceiling <= 0) return "";
  const steps = points.map(([x, value]) => `H${number(x)}V${height(value, ceiling)}`).join("");
  return `M${number(points[0][0])} 100${steps}H100V100Z`;
}

/**
 * Items per second in intervals of equal length, from counts at milliseconds.
 * @param {Point[]} counts
 * @param {number} wholeMs
 */
export function throughput(counts, wholeMs) {
  const bars = Math.min(MAX_BARS, counts.length - 1);
  if (bars < 1 || wholeMs <= 0) return [];
  const edges = Array.from({ length: bars + 1 }, (_, bar) => countAt(counts, (wholeMs * bar) / bars));
  const seconds = wholeMs / bars / 1000;
  return edges.slice(1).map((after, bar) => Math.max(0, after - edges[bar]) / seconds);
}

/**
 * The count on the line between two counts; outside of all, the first or the last.
 * @param {Point[]} counts
 * @param {number} atMs
 */
export function countAt(counts, atMs) {
  let before = counts[0];
  for (const after of counts) {
    if (after[0] > atMs) {
      if (after[0] === before[0] || atMs <= before[0]) return before[1];
      const share = (atMs - before[0]) / (after[0] - before[0]);
      return before[1] + share * (after[1] - before[1]);
    }
    before = after;
  }
  return before[1];
}

/** Values at equal distances over the whole axis. @param {number[]} values @returns {Point[]} */
export function spread(values) {
  return values.map((value, index) => [(100 * index) / values.length, value]);
}

/**
 * @param {number} value
 * @param {number} ceiling
 */
function height(value, ceiling) {
  return number(100 - 100 * Math.min(1, Math.max(0, value / ceiling)));
}
