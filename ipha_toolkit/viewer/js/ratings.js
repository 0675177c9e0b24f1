// The table of ratings as a file: the columns that ipha_toolkit/io/ratings.py reads.
const RATING_COLUMNS = ["subject", "session", "image", "rater", "verdict", "reasons", "note", "hash"];

export const keyOf = ({subject, session, image, hash}) => [subject, session, image, hash].join("\t");

export function ratingsTable(rows) {
  const cell = (value) => { const text = String(value ?? "").replace(/\s+/g, " ").trim() || "n/a"; return text.includes('"') ? `"${text.replaceAll('"', '""')}"` : text; };
  const sorted = [...rows].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  return [RATING_COLUMNS, ...sorted.map((row) => RATING_COLUMNS.map((name) => cell(row[name])))].map((cells) => cells.join("\t")).join("\n") + "\n";
}
