// Behave does what the value of a record says, well or badly.
import { Builder, Bytes, Fields, HOUR, Json, Level, Op, Out, Record, build, bytesOf, configure, field, log, register, tuple } from "./foldrun";
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";

// Made before the first record, so that they stay.
const fields = new Fields(["a", "b", "c", "", "b\n", "long name of a field that nobody asks for"]);
const constant = bytesOf("cönst");
let wanted: Bytes | null = null;
let describe = false;

function take(config: Bytes): string | null {
  describe = field(config, "describe") != null;
  if (field(config, "throw")) throw new Error("configure");
  const w = field(config, "wanted");
  if (w) wanted = w.text();
  const refused = field(config, "refuse");
  return refused ? refused.text()!.toString() : null;
}

/** Emits all that there is of a record. */
function all(r: Record, out: Out): void {
  const numbers = new Uint8Array(16);
  store<u64>(numbers.dataStart, r.seq);
  store<i64>(numbers.dataStart, r.time, 8);
  out.emit(0, numbers, build().byte(<u8>r.op));
  out.emit(1, r.subject, "");
  out.emit(2, r.key, r.value);
  for (let i = 0; i < r.headers; i++) out.emit(3, r.headerName(i), r.headerValue(i));
}

/** Emits what is found in a JSON text: "absent", or the raw value and all that it can be read as. */
function json(text: Bytes, out: Out): void {
  const values = fields.scan(text);
  out.emit(0, "found", build().add(values.found));
  const names = ["a", "b", "c", "", "b\n", "long name of a field that nobody asks for"];
  for (let i = 0; i < names.length; i++) {
    const v = values[i];
    const alone = field(text, names[i]);
    if (!v || !alone) {
      if (v || alone) out.error(1, "alone and together differ");
      continue;
    }
    if (!v.equals(alone)) out.error(2, "alone and together differ");
    const key = build().add(i);
    out.emit(0, key, v);
    read(key, v, out);
  }
}

function read(key: Builder, v: Json, out: Out): void {
  const text = v.text();
  if (text) out.emit(1, key, text);
  if (v.isInt()) out.emit(2, key, build().add(v.int()));
  if (v.isFloat()) out.emit(3, key, build().add(reinterpret<u64>(v.float())));
  if (v.isBool()) out.emit(4, key, v.isTrue() ? "true" : "false");
  if (v.isNull()) out.emit(5, key, "");
  const inner = field(field(v, "x"), "x");
  if (inner) out.emit(6, key, inner);
}

/** Reads elements, each a kind, a direction, a length and bytes, and emits their tuple. */
function elements(b: Bytes, out: Out): void {
  const t = tuple();
  for (let p = 0; p < b.length; ) {
    const kind = b[p];
    const desc = b[p + 1] != 0;
    const n = load<i32>(b.at + p + 2);
    const text = b.slice(p + 6, p + 6 + n);
    const number = n == 8 ? load<u64>(text.at) : 0;
    p += 6 + n;
    switch (kind) {
      case 0: desc ? t.nullDesc() : t.null(); break;
      case 1: desc ? t.boolDesc(number != 0) : t.bool(number != 0); break;
      case 2: desc ? t.intDesc(number) : t.int(number); break;
      case 3: desc ? t.uintDesc(number) : t.uint(number); break;
      case 4: desc ? t.floatDesc(reinterpret<f64>(number)) : t.float(reinterpret<f64>(number)); break;
      case 5: desc ? t.blobDesc(text) : t.blob(text); break;
      default: desc ? t.textDesc(text) : t.text(text); break;
    }
  }
  out.emit(0, t, "");
}

function recurse(n: i32): i32 {
  return n < 0 ? 0 : recurse(n + 1) + n;
}

const leaked: Uint8Array[] = [];

function transform(r: Record, out: Out): void {
  if (describe) return all(r, out);
  const value = r.value;
  if (value.length >= 5) {
    const kind = value.slice(0, 5);
    if (kind.equals("json:")) return json(value.slice(5), out);
    if (kind.equals("tupl:")) return elements(value.slice(5), out);
  }
  const verb = value.toString();
  if (verb == "record") {
    const text = build().add(r.seq).add(" ").add(r.time).add(" ").add(r.subject).add(" ").add(r.op == Op.Put ? "put" : "other");
    for (let i = 0; i < r.headers; i++) text.add(" ").add(r.headerName(i)).add("=").add(r.headerValue(i));
    if (!r.header("X-Empty") || r.header("X-None")) text.add(" wrong");
    const tag = r.header("X-Tag");
    if (tag) text.add(" ").add(tag);
    out.emit(0, r.key, text);
    out.emit(1, r.subject, "");
  } else if (verb == "kinds") {
    const array = new Uint8Array(2);
    array[0] = 0x61;
    array[1] = 0xff;
    out.emit(0, "string ü", array);
    array[0] = 0x62; // what was emitted is a copy
    out.emit(0, array.buffer, constant);
    out.emit(0, "numbers", build().add(<i64>i64.MIN_VALUE).add(" ").add(u64.MAX_VALUE).add(" ").add(<i8>-7).add(" ").add(0));
    out.emit(0, "json", build().json('"\\\n\t\x01ü'));
    out.emit(0, tuple().text("t").int(1), value.copy());
  } else if (verb == "escaped") {
    const text = field(bytesOf('{"k\\u0065y":"a\\u00fc\\n"}'), "key")!.text()!;
    out.emit(0, text, text.slice(1));
  } else if (verb == "ttl") {
    out.emit(0, r.key, "", HOUR);
  } else if (verb == "config") {
    out.emit(0, "config", wanted);
  } else if (verb == "large") {
    for (let i = 0; i < 250; i++) out.emit(0, build().add(i), new Uint8Array(4000));
  } else if (verb == "skip") {
    out.emit(0, r.key, "");
    out.skip();
    out.emit(0, r.key, "");
    out.error(9, "too late");
  } else if (verb == "error") {
    out.emit(0, r.key, "");
    out.error(7, "text of " + verb);
    out.skip();
  } else if (verb == "log") {
    log(Level.Warn, "a line");
  } else if (verb == "throw") {
    out.emit(0, r.key, "");
    throw new Error("thrown");
  } else if (verb == "byte") {
    out.emit(0, "", build().byte(value[100]));
  } else if (verb == "slice") {
    out.emit(0, "", value.slice(3, 2));
  } else if (verb == "header") {
    out.emit(0, "", r.headerName(99));
  } else if (verb == "null") {
    out.emit(0, r.header("X-None"), "");
  } else if (verb == "int") {
    out.emit(0, build().add(field(bytesOf('{"n":1.5}'), "n")!.int()), "");
  } else if (verb == "bad index") {
    out.emit(1 << 16, "", "");
  } else if (verb == "bad ttl") {
    out.emit(0, "", "", -1);
  } else if (verb == "bad code") {
    out.error(-1, "");
  } else if (verb == "unknown index") {
    out.emit(7, "", "");
  } else if (verb == "memory") {
    out.emit(0, new Uint8Array(1 << 29), "");
  } else if (verb == "leak") {
    while (true) leaked.push(new Uint8Array(1 << 20));
  } else if (verb == "recurse") {
    out.emit(recurse(1), "", "");
  } else {
    out.emit(0, r.key, r.value);
  }
}

configure(take);
register(transform);
