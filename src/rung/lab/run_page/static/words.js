// What two texts have in common and what only one of them has, word by word.

const MOST = 1200; // words of a text; the work grows with the product of both

export const pieces = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

/**
 * [["same" | "gone" | "new", text], ...], the shortest such list, neighbours of one kind joined; null when the texts
 * are too long.
 */
export function difference(before, after) {
  const [a, b] = [pieces(before), pieces(after)];
  if (a.length > MOST || b.length > MOST) return null;
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width); // longest common sequence of the rests
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j]
        ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const found = [];
  const add = (kind, text) => {
    if (found.at(-1)?.[0] === kind) found.at(-1)[1] += text; else found.push([kind, text]);
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("same", a[i]); i++; j++; }
    else if (j >= b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) add("gone", a[i++]);
    else add("new", b[j++]);
  }
  return found;
}
