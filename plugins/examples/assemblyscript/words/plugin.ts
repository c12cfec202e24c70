// Words finds the texts that hold a word.
import { Bytes, Out, Record, build, field, register } from "./foldrun";
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";

// letter says whether a byte is part of a word: a letter, a digit, or part of any character beyond ASCII.
function letter(c: u8): bool {
  return (c >= 0x30 && c <= 0x39) || ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a) || c >= 0x80;
}

// lower returns a word with A-Z made small; other letters stay as they are.
function lower(word: Bytes): Bytes {
  const small = build();
  for (let i = 0; i < word.length; i++) {
    const c = word[i];
    small.byte(c >= 0x41 && c <= 0x5a ? c | 0x20 : c);
  }
  return small.bytes();
}

function transform(r: Record, out: Out): void {
  const raw = field(r.value, "text");
  const text = raw ? raw.text() : null;
  if (!text) return out.error(1, "no text");
  for (let from = 0, to = 0; from < text.length; from = to + 1) {
    for (to = from; to < text.length && letter(text[to]); ) to++;
    if (to > from) out.emit(0, lower(text.slice(from, to)), r.key); // a word that comes twice makes one row
  }
}

register(transform);
