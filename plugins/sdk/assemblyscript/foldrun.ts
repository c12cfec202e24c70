// foldrun.ts is the SDK for foldrun plugins in AssemblyScript: this one file, ABI version 1, on the standard library alone.
//
//     import { Record, Out, field, register } from "./foldrun";
//     export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";
//
//     register(transform);
//
//     function transform(r: Record, out: Out): void {
//       const email = field(r.value, "email");
//       const text = email ? email.text() : null;
//       if (text) out.emit(0, text, r.key);
//       else out.skip();
//     }
//
//     asc plugin.ts --config none --runtime incremental -O3 --outFile plugin.wasm
//
// A transform says what one record yields now; the host compares that with what the record yielded before and stores the
// difference. It must depend on the record and the config alone: a variable that remembers something from one record to the
// next is a bug, since the host makes and drops instances as it likes.
//
// # Memory
//
// Record, Bytes, Json, Values, Builder and Tuple are unmanaged: they and what they point to lie in the arena, which the
// host writes, or in scratch memory, which every call starts afresh. So they cost no garbage, and are valid until transform
// returns. What was made before the first record, at the top level or by the function that configure sets, stays.
// Strings, arrays and objects are as everywhere in AssemblyScript: its garbage collector keeps memory small. What is emitted
// of them is copied at once.
//
// # What goes wrong
//
// A throw, an index out of range or memory that runs out ends the instance: the host tries the record alone on a fresh
// one, quarantines it if it fails again, and goes on. For a record that is merely bad, call out.error.

/** Sets the plugin's transform. Call it at the top level. */
export function register(transform: (r: Record, out: Out) => void): void {
  transformer = transform;
}

/**
 * Sets what takes the fold's config, a JSON object that the manifest's schema allows. It is called once on each instance,
 * before any transform, and returns null, or why the config is refused: then the fold does not start.
 */
export function configure(take: (config: Bytes) => string | null): void {
  configurer = take;
}

// ---- bytes

/** A span of memory, owned by nobody: to be read and not written. */
@unmanaged
export class Bytes {
  /** Where it begins in memory. */
  at: usize;
  length: i32;

  /** Returns byte i. Out of range, it throws. */
  @operator("[]")
  get(i: i32): u8 {
    if (u32(i) >= u32(this.length)) throw new RangeError("there is no such byte");
    return load<u8>(this.at + i);
  }

  /** Returns a view of the bytes from one index up to another. Out of range, it throws. */
  slice(from: i32, to: i32 = this.length): Bytes {
    if (u32(from) > u32(to) || u32(to) > u32(this.length)) throw new RangeError("there is no such slice");
    return span(this.at + from, to - from);
  }

  /** Says whether these are the bytes of other, which is what bytesOf takes. */
  equals<T>(other: T): bool {
    return same(this, bytesOf(other));
  }

  /** Returns the text. What is no UTF-8 comes out as something else, the same each time. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.at, this.length);
  }

  /** Returns a copy that is yours. */
  copy(): Uint8Array {
    const c = new Uint8Array(this.length);
    memory.copy(c.dataStart, this.at, this.length);
    return c;
  }
}

/**
 * Makes Bytes of a string (in UTF-8), a Builder, a Tuple, a Uint8Array or an ArrayBuffer; Bytes are taken as they are. Of
 * null it throws. Make constants once, at the top level: const slash = bytesOf("/").
 */
export function bytesOf<T>(x: T): Bytes {
  if (isNullable<T>()) {
    return bytesOf(x!);
  } else if (isString<T>()) {
    const s = changetype<string>(x);
    let at = take(s.length);
    if (ascii(s, at)) return span(at, s.length);
    at = take(String.UTF8.byteLength(s));
    return span(at, i32(String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, at)));
  } else if (x instanceof Bytes) {
    return x;
  } else if (x instanceof Builder) {
    return x.bytes();
  } else if (x instanceof Uint8Array) {
    return copied(x.dataStart, x.length);
  } else if (x instanceof ArrayBuffer) {
    return copied(changetype<usize>(x), x.byteLength);
  } else {
    ERROR("it has no bytes: give a string, Bytes, Json, Builder, Tuple, Uint8Array or ArrayBuffer");
    return span(0, 0);
  }
}

/**
 * Bytes in the making: build().add(country).add("/").add(name) is what emit takes. It holds up to 1 GiB, and beyond that
 * throws.
 */
@unmanaged
export class Builder {
  private at: usize;
  private length: i32;
  private room: i32;

  /** Appends what bytesOf takes, or an integer in decimal. */
  add<T>(x: T): this {
    if (isString<T>()) {
      const s = changetype<string>(x);
      const before = this.length;
      if (ascii(s, this.more(s.length))) return this;
      this.length = before;
      String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, this.more(String.UTF8.byteLength(s)));
    } else if (isInteger<T>()) {
      const minus = isSigned<T>() && x < 0;
      this.decimal(minus ? 0 - u64(x) : u64(x), minus);
    } else {
      const b = bytesOf(x);
      memory.copy(this.more(b.length), b.at, b.length);
    }
    return this;
  }

  /** Appends one byte. */
  byte(b: u8): this {
    store<u8>(this.more(1), b);
    return this;
  }

  /** Appends a text, which is what bytesOf takes, as a JSON string, quotes included. Bytes from 0x80 on are taken as they are. */
  json<T>(text: T): this {
    const b = bytesOf(text);
    this.byte(0x22);
    for (let p = b.at, end = p + b.length; p < end; p++) {
      const c = load<u8>(p);
      if (c == 0x22 || c == 0x5c) this.byte(0x5c).byte(c);
      else if (c >= 0x20) this.byte(c);
      else if (c == 0x0a) this.byte(0x5c).byte(0x6e);
      else if (c == 0x09) this.byte(0x5c).byte(0x74);
      else this.add("\\u00").byte(digit(c >> 4)).byte(digit(c & 15));
    }
    return this.byte(0x22);
  }

  /** Returns what there is so far: a view, valid until more is appended. */
  bytes(): Bytes {
    return span(this.at, this.length);
  }

  private decimal(n: u64, minus: bool): void {
    let digits = 1;
    for (let rest = n / 10; rest; rest /= 10) digits++;
    if (minus) this.byte(0x2d);
    for (let p = this.more(digits) + digits; digits; digits--, n /= 10) store<u8>(--p, 0x30 + u8(n % 10));
  }

  /** Makes room for n bytes at the end and returns where they go. */
  protected more(n: i32): usize {
    const length = u64(this.length) + n;
    if (length > MOST) throw new RangeError("more than 1 GiB");
    if (length > u64(this.room)) {
      const room = u32(max<u64>(2 * length, 48));
      const to = take(room);
      memory.copy(to, this.at, this.length);
      this.at = to;
      this.room = room;
    }
    const end = this.at + this.length;
    this.length = i32(length);
    return end;
  }

  /** Inverts the bytes from an index on: a descending element of a tuple. */
  protected invert(from: i32): void {
    for (let p = this.at + from, end = this.at + this.length; p < end; p++) store<u8>(p, ~load<u8>(p));
  }

  protected size(): i32 {
    return this.length;
  }
}

/** Begins a Builder. */
export function build(): Builder {
  return changetype<Builder>(zeroed(offsetof<Builder>()));
}

// ---- records

/** What happened to a record's key. */
export enum Op {
  Put = 1,
  /** Delete and Purge are shown only if the manifest wants "delete". Their value is empty. */
  Delete = 2,
  Purge = 3,
}

/** One message of the source, as it lies in the in frame. */
@unmanaged
export class Record {
  /** The message's stream sequence: what KV calls its revision. */
  seq: u64;
  /** The message's time, nanoseconds since 1970. */
  time: i64;
  private keyAt: u32;
  private keyLength: i32;
  private valueAt: u32;
  private valueLength: i32;
  private subjectAt: u32;
  private subjectLength: i32;
  private firstHeader: u32;
  /** How many headers there are. */
  headers: i32;
  private what: u8;

  get op(): Op {
    return <Op>this.what;
  }

  /** The KV key; in a stream the subject, or, with keying = "message", the seq as 8 bytes big-endian. */
  get key(): Bytes {
    return span(frame + this.keyAt, this.keyLength);
  }

  /** The message's payload. */
  get value(): Bytes {
    return span(frame + this.valueAt, this.valueLength);
  }

  /** The message's whole subject: $KV.BUCKET.KEY for a KV bucket. */
  get subject(): Bytes {
    return span(frame + this.subjectAt, this.subjectLength);
  }

  /** Returns the first value of a header, or null. Names are compared as NATS does, case included. */
  header<T>(name: T): Bytes | null {
    const wanted = bytesOf(name);
    for (let i = 0; i < this.headers; i++) {
      if (same(this.headerName(i), wanted)) return this.headerValue(i);
    }
    return null;
  }

  /** Returns the name of header i, in the message's order. A name with two values comes twice. */
  headerName(i: i32): Bytes {
    const h = this.headerAt(i);
    return span(frame + load<u32>(h), load<i32>(h, 4));
  }

  /** Returns the value of header i. */
  headerValue(i: i32): Bytes {
    const h = this.headerAt(i);
    return span(frame + load<u32>(h, 8), load<i32>(h, 12));
  }

  private headerAt(i: i32): usize {
    if (u32(i) >= u32(this.headers)) throw new RangeError("there is no such header");
    return frame + load<u32>(frame, 16) + 16 * (this.firstHeader + i);
  }
}

// ---- what a record yields

/** Times to live. */
export const SECOND: i64 = 1_000_000_000;
export const MINUTE: i64 = 60 * SECOND;
export const HOUR: i64 = 60 * MINUTE;

const OK: u8 = 1;
const FILTERED: u8 = 2;
const FAILED: u8 = 3;

/** Takes what a record yields. */
@final
export class Out {
  /**
   * Adds an entry. index is the ordinal of an index in the manifest; key and value are what bytesOf takes, and may be
   * empty. The entry goes ttl nanoseconds after the record's time, even if the record stays; 0 is never. A record that
   * emits the same key of an index twice must give the same value and ttl.
   */
  emit<K, V>(index: i32, key: K, value: V, ttl: i64 = 0): void {
    if (status != OK) return;
    if (u32(index) > 0xffff) throw new RangeError("an index is 0 to 65535");
    if (ttl < 0) throw new RangeError("a negative ttl");
    const k = bytesOf(key);
    const v = bytesOf(value);
    const e = entry();
    store<u32>(e, u32(index));
    store<u32>(e, u32(k.at), 4);
    store<u32>(e, k.length, 8);
    store<u32>(e, u32(v.at), 12);
    store<u32>(e, v.length, 16);
    store<u32>(e, 0, 20);
    store<i64>(e, ttl, 24);
  }

  /**
   * Says that the record is filtered out: it yields nothing, on purpose. What it emitted is withdrawn, what it emits
   * afterwards is not taken.
   */
  skip(): void {
    if (status == OK) status = FILTERED;
  }

  /**
   * Says that the record cannot be transformed: it goes to quarantine with the code, 0 to 65535, which is the plugin's own,
   * and the message, which is what bytesOf takes. Entries are treated as by skip.
   */
  error<T>(code: i32, message: T): void {
    if (status != OK) return;
    if (u32(code) > 0xffff) throw new RangeError("a code is 0 to 65535");
    status = FAILED;
    failCode = u16(code);
    failText = bytesOf(message);
  }
}

// ---- JSON

/**
 * One raw value in a JSON text: "Paris" with its quotes, -1.5, {…}, null.
 *
 * The scanner finds, it does not validate: it reads well-formed JSON rightly, and ill-formed JSON to some answer or to
 * "absent", always the same one. Raw values of a well-formed text may be put into another JSON text as they are.
 */
@unmanaged
export class Json extends Bytes {
  /** Returns the text of a string, or null if this is none. Half of a surrogate pair becomes U+FFFD. */
  text(): Bytes | null {
    const n = this.length;
    if (n < 2 || load<u8>(this.at) != 0x22 || load<u8>(this.at + n - 1) != 0x22) return null;
    const from = this.at + 1;
    const to = this.at + n - 1;
    return stop(from, to) == to ? span(from, n - 2) : unescape(from, to);
  }

  /** Says whether it is a whole number within i64. 1.0 and 1e6 are none. */
  isInt(): bool {
    return readInt(this);
  }

  /** Returns the whole number. If it is none, it throws. */
  int(): i64 {
    if (!readInt(this)) throw new Error("no whole number: " + this.toString());
    return theInt;
  }

  /** Says whether it is a number within f64. */
  isFloat(): bool {
    return readFloat(this);
  }

  /**
   * Returns the number; if it is none, it throws. It is the nearest f64 where the number is whole and within u64, or has
   * at most 15 digits and a power of ten within 22; elsewhere it may be some units in the last place off. Either way it is
   * the same on every machine.
   */
  float(): f64 {
    if (!readFloat(this)) throw new Error("no number: " + this.toString());
    return theFloat;
  }

  /** Says whether it is true or false. */
  isBool(): bool {
    return this.isTrue() || (this.length == 5 && load<u32>(this.at) == 0x736c6166 && load<u8>(this.at, 4) == 0x65);
  }

  /** Says whether it is true. */
  isTrue(): bool {
    return this.length == 4 && load<u32>(this.at) == 0x65757274;
  }

  /** Says whether it is null, the JSON value: a field that is there. */
  isNull(): bool {
    return this.length == 4 && load<u32>(this.at) == 0x6c6c756e;
  }
}

/** Finds one field of a JSON object. Of nothing it finds nothing: field(field(r.value, "address"), "city"). */
export function field(object: Bytes | null, name: string): Json | null {
  if (!object) return null;
  const names = span(take(8), 1);
  const wanted = bytesOf(name);
  store<usize>(names.at, changetype<usize>(wanted));
  return scan(object, names).get(0);
}

/** The names of some fields of a JSON object, to be found together in one pass. Make it at the top level. */
@final
export class Fields {
  private names: Bytes;

  constructor(names: string[]) {
    this.names = span(take(sizeof<usize>() * names.length), names.length);
    for (let i = 0; i < names.length; i++) {
      store<usize>(this.names.at + sizeof<usize>() * i, changetype<usize>(bytesOf(names[i])));
    }
  }

  /** Finds the fields in the top level of an object; in what is no object, none. Of a name that comes twice the first counts. */
  scan(object: Bytes): Values {
    return scan(object, this.names);
  }
}

/** What a scan found. */
@unmanaged
export class Values {
  /** How many of the fields are there. */
  found: i32;
  private count: i32;

  /** Returns the raw value of field i, or null if it is absent. */
  @operator("[]")
  get(i: i32): Json | null {
    if (u32(i) >= u32(this.count)) throw new RangeError("there is no such field");
    const at = changetype<usize>(this) + offsetof<Values>() + offsetof<Json>() * i;
    return load<usize>(at) ? changetype<Json>(at) : null;
  }
}

/** Finds the named fields: names holds the addresses of Bytes. It stops when it has all. */
function scan(object: Bytes, names: Bytes): Values {
  const n = names.length;
  const table = zeroed(offsetof<Values>() + offsetof<Json>() * n);
  const values = changetype<Values>(table);
  store<i32>(table, n, offsetof<Values>("count"));
  const end = object.at + object.length;
  let p = space(object.at, end);
  if (p == end || load<u8>(p) != 0x7b) return values;
  while (values.found < n) {
    p = space(p + 1, end);
    if (p == end || load<u8>(p) != 0x22) break;
    const quote = p;
    p = stop(p + 1, end);
    let name = quote + 1;
    let length = p - name;
    if (p == end || load<u8>(p) == 0x5c) {
      p = stringEnd(quote, end);
      const text = p ? unescape(quote + 1, p - 1) : null;
      if (!text) break;
      name = text.at;
      length = text.length;
    } else {
      p++;
    }
    p = space(p, end);
    if (p == end || load<u8>(p) != 0x3a) break;
    const value = space(p + 1, end);
    p = valueEnd(value, end);
    if (!p) break;
    let slot = table + offsetof<Values>();
    for (let i = names.at, last = i + sizeof<usize>() * n; i < last; i += sizeof<usize>(), slot += offsetof<Json>()) {
      const wanted = changetype<Bytes>(load<usize>(i));
      if (wanted.length == i32(length) && !load<usize>(slot) && alike(wanted.at, name, wanted.length)) {
        store<usize>(slot, value);
        store<i32>(slot, i32(p - value), offsetof<Bytes>("length"));
        values.found++;
        break;
      }
    }
    p = space(p, end);
    if (p == end || load<u8>(p) != 0x2c) break;
  }
  return values;
}

const ONES: u64 = 0x0101010101010101;
const TOPS: u64 = 0x8080808080808080;

/** Marks the lowest byte of a word that is 0, by its top bit; bits above it mean nothing. */
// @ts-ignore: decorator
@inline
function zero(word: u64): u64 {
  return (word - ONES) & ~word & TOPS;
}

/** Passes over what JSON takes for space, and the other control characters, too. */
// @ts-ignore: decorator
@inline
function space(p: usize, end: usize): usize {
  while (p < end && load<u8>(p) <= 0x20) p++;
  return p;
}

/** Finds the first quote or backslash, or the end. Eight bytes at a time: here JSON spends its time, and its fuel. */
function stop(p: usize, end: usize): usize {
  for (; p + 8 <= end; p += 8) {
    const word = load<u64>(p);
    const marks = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
    if (marks) return p + usize(ctz(marks) >> 3);
  }
  while (p < end && load<u8>(p) != 0x22 && load<u8>(p) != 0x5c) p++;
  return p;
}

/** Returns what follows the closing quote of the string at p, or 0. */
function stringEnd(p: usize, end: usize): usize {
  p = stop(p + 1, end);
  while (p + 2 <= end && load<u8>(p) == 0x5c) p = stop(p + 2, end);
  return p < end && load<u8>(p) == 0x22 ? p + 1 : 0;
}

/** Returns what follows the partner of the { or [ at p, or 0. */
function nestedEnd(p: usize, end: usize): usize {
  let depth = 0;
  while (p < end) {
    const c = load<u8>(p);
    if (c == 0x22) {
      p = stringEnd(p, end);
      if (!p) return 0;
      continue;
    }
    const open = c | 0x20;
    if (open == 0x7b) depth++;
    else if (open == 0x7d && --depth == 0) return p + 1;
    p++;
  }
  return 0;
}

/** Returns what follows the value at p, or 0. */
function valueEnd(p: usize, end: usize): usize {
  if (p == end) return 0;
  let c = load<u8>(p);
  if (c == 0x22) return stringEnd(p, end);
  if ((c | 0x20) == 0x7b) return nestedEnd(p, end);
  const start = p;
  while (p < end) {
    c = load<u8>(p);
    if ((c <= 0x2c && c != 0x2b) || (c | 0x20) == 0x7d) break;
    p++;
  }
  return p == start ? 0 : p;
}

/** Reads four hexadecimal digits, or gives -1. */
function hex4(p: usize, end: usize): i32 {
  if (p + 4 > end) return -1;
  let v = 0;
  for (let i = 0; i < 4; i++, p++) {
    const c = i32(load<u8>(p));
    const low = c | 0x20;
    if (c >= 0x30 && c <= 0x39) v = (v << 4) | (c - 0x30);
    else if (low >= 0x61 && low <= 0x66) v = (v << 4) | (low - 0x61 + 10);
    else return -1;
  }
  return v;
}

function digit(n: u8): u8 {
  return n < 10 ? 0x30 + n : 0x61 - 10 + n;
}

function utf8(to: usize, c: i32): usize {
  if (c < 0x80) {
    store<u8>(to, c);
    return to + 1;
  }
  if (c < 0x800) {
    store<u8>(to, 0xc0 | (c >> 6));
    store<u8>(to, 0x80 | (c & 0x3f), 1);
    return to + 2;
  }
  if (c < 0x10000) {
    store<u8>(to, 0xe0 | (c >> 12));
    store<u8>(to, 0x80 | ((c >> 6) & 0x3f), 1);
    store<u8>(to, 0x80 | (c & 0x3f), 2);
    return to + 3;
  }
  store<u8>(to, 0xf0 | (c >> 18));
  store<u8>(to, 0x80 | ((c >> 12) & 0x3f), 1);
  store<u8>(to, 0x80 | ((c >> 6) & 0x3f), 2);
  store<u8>(to, 0x80 | (c & 0x3f), 3);
  return to + 4;
}

/** Returns the text between the quotes, in scratch, or null; no escape makes it longer. */
function unescape(p: usize, end: usize): Bytes | null {
  const start = take(u32(end - p));
  let to = start;
  while (p < end) {
    let c = load<u8>(p++);
    if (c == 0x5c) {
      if (p == end) return null;
      c = load<u8>(p++);
      switch (c) {
        case 0x22: case 0x5c: case 0x2f: break;
        case 0x62: c = 0x08; break;
        case 0x66: c = 0x0c; break;
        case 0x6e: c = 0x0a; break;
        case 0x72: c = 0x0d; break;
        case 0x74: c = 0x09; break;
        case 0x75: {
          let u = hex4(p, end);
          if (u < 0) return null;
          p += 4;
          if (u >= 0xd800 && u < 0xe000) { // half of a pair
            const pair = u < 0xdc00 && p + 6 <= end && load<u16>(p) == 0x755c;
            const half = pair ? hex4(p + 2, end) : -1;
            if (half >= 0xdc00 && half < 0xe000) {
              p += 6;
              u = 0x10000 + ((u - 0xd800) << 10) + (half - 0xdc00);
            } else {
              u = 0xfffd;
            }
          }
          to = utf8(to, u);
          continue;
        }
        default: return null;
      }
    }
    store<u8>(to++, c);
  }
  return span(start, i32(to - start));
}

// What the last readInt and readFloat read: there is one result, and these are two.
let theInt: i64 = 0;
let theFloat: f64 = 0;

function readInt(v: Bytes): bool {
  let p = v.at;
  const end = p + v.length;
  const minus = p < end && load<u8>(p) == 0x2d;
  if (minus) p++;
  if (p == end) return false;
  const limit = u64(i64.MAX_VALUE) + u64(minus);
  let n: u64 = 0;
  for (; p < end; p++) {
    const d = u64(load<u8>(p)) - 0x30;
    if (d > 9 || n > (limit - d) / 10) return false;
    n = n * 10 + d;
  }
  theInt = minus ? -i64(n) : i64(n);
  return true;
}

/** Powers of ten that f64 has exactly. */
const POWERS: StaticArray<f64> = [
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

function readFloat(v: Bytes): bool {
  let p = v.at;
  const end = p + v.length;
  const minus = p < end && load<u8>(p) == 0x2d;
  if (minus) p++;
  let m: u64 = 0;
  let e = 0;
  let digits = false;
  let fraction = false;
  for (; p < end; p++) {
    const c = load<u8>(p);
    if (c == 0x2e && digits && !fraction) {
      fraction = true;
      digits = false;
      continue;
    }
    const d = u64(c) - 0x30;
    if (d > 9) break;
    digits = true;
    if (m <= (u64.MAX_VALUE - 9) / 10) { // what is cut off is far below the precision of f64
      m = m * 10 + d;
      e -= i32(fraction);
    } else {
      e += i32(!fraction);
    }
  }
  if (!digits) return false;
  if (p < end && (load<u8>(p) | 0x20) == 0x65) {
    p++;
    const down = p < end && load<u8>(p) == 0x2d;
    if (p < end && (down || load<u8>(p) == 0x2b)) p++;
    if (p == end) return false;
    let x = 0;
    for (; p < end; p++) {
      const d = i32(load<u8>(p)) - 0x30;
      if (u32(d) > 9) break;
      if (x < 100000) x = x * 10 + d;
    }
    e += down ? -x : x;
  }
  if (p != end) return false;
  let value = f64(m);
  if (m) {
    for (; e > 0 && value <= 1e308; e -= min(e, 22)) value *= POWERS[min(e, 22)];
    for (; e < 0 && value > 0; e += min(-e, 22)) value /= POWERS[min(-e, 22)];
    if (e > 0) return false;
  }
  if (value == Infinity) return false;
  theFloat = minus ? -value : value;
  return true;
}

// ---- tuple keys

/**
 * A key made of typed elements, whose bytes sort as the tuples do: abi/TUPLE.md has them. Each method appends one element:
 *
 *     out.emit(0, tuple().text(country).intDesc(population), r.value);
 *
 * In one place of a tuple, null is before false, true, integers, floats, bytes and strings. Integers and floats are not one
 * order: decide for one. The methods whose names end in Desc sort the other way round.
 */
@unmanaged
export class Tuple extends Builder {
  null(): Tuple {
    store<u8>(this.more(1), 0x04);
    return this;
  }

  bool(v: bool): Tuple {
    store<u8>(this.more(1), 0x08 + u8(v));
    return this;
  }

  /** Appends an integer. int and uint of the same number are the same element. */
  int(v: i64): Tuple {
    if (v >= 0) return this.uint(u64(v));
    const n = width(u64(-v));
    store<u8>(this.more(1), u8(0x18 - n));
    return this.low(~u64(-v), n);
  }

  uint(v: u64): Tuple {
    const n = width(v);
    store<u8>(this.more(1), u8(0x18 + n));
    return this.low(v, n);
  }

  /** Appends a float. -0 is 0, and there is one NaN, above all others. */
  float(v: f64): Tuple {
    let b: u64 = 0x7ff8000000000000;
    if (v == v) b = reinterpret<u64>(v == 0 ? 0 : v);
    store<u8>(this.more(1), 0x30);
    return this.low(i64(b) < 0 ? ~b : b | (1 << 63), 8);
  }

  /** Appends a text, which is what bytesOf takes; meant to be UTF-8, which nobody checks. */
  text<T>(v: T): Tuple {
    return this.escaped(0x50, bytesOf(v));
  }

  /** Appends bytes, which are what bytesOf takes: TUPLE.md's bytes. */
  blob<T>(v: T): Tuple {
    return this.escaped(0x40, bytesOf(v));
  }

  nullDesc(): Tuple {
    const from = this.size();
    this.null().invert(from);
    return this;
  }

  boolDesc(v: bool): Tuple {
    const from = this.size();
    this.bool(v).invert(from);
    return this;
  }

  intDesc(v: i64): Tuple {
    const from = this.size();
    this.int(v).invert(from);
    return this;
  }

  uintDesc(v: u64): Tuple {
    const from = this.size();
    this.uint(v).invert(from);
    return this;
  }

  floatDesc(v: f64): Tuple {
    const from = this.size();
    this.float(v).invert(from);
    return this;
  }

  textDesc<T>(v: T): Tuple {
    const from = this.size();
    this.text(v).invert(from);
    return this;
  }

  blobDesc<T>(v: T): Tuple {
    const from = this.size();
    this.blob(v).invert(from);
    return this;
  }

  /** Appends the low n bytes of v, big-endian. */
  private low(v: u64, n: i32): Tuple {
    let p = this.more(n);
    for (let shift = 8 * (n - 1); shift >= 0; shift -= 8) store<u8>(p++, u8(v >> shift));
    return this;
  }

  private escaped(first: u8, b: Bytes): Tuple {
    store<u8>(this.more(1), first);
    for (let p = b.at, end = p + b.length; p < end; p++) {
      const c = load<u8>(p);
      store<u8>(this.more(1), c);
      if (c == 0) store<u8>(this.more(1), 0xff);
    }
    store<u16>(this.more(2), 0x0100);
    return this;
  }
}

/** Begins a tuple. */
export function tuple(): Tuple {
  return changetype<Tuple>(zeroed(offsetof<Tuple>()));
}

/** Returns the fewest bytes that hold v, 0 for 0. */
function width(v: u64): i32 {
  return i32((71 - clz(v)) >> 3);
}

// ---- log

export enum Level {
  Debug = 0,
  Info = 1,
  Warn = 2,
  Error = 3,
}

// @ts-ignore: decorator
@external("foldrun_v1", "log")
declare function hostLog(level: i32, at: usize, length: i32): void;

/** Writes a line to the host's log. For finding mistakes: a call costs more than most records do. */
export function log<T>(level: Level, text: T): void {
  const b = bytesOf(text);
  hostLog(level, b.at, b.length);
}

// ---- memory

const MOST: u64 = 1 << 30; // no single thing is larger

// Scratch is one chunk, or in a call that needs more, a list of them: the first word of a chunk is the one before it. What
// was taken before the first record stays, since the chunks of then are forgotten and not freed.
const HEAD: usize = 16;
let chunk: usize = 0;
let top: usize = 0;
let chunkEnd: usize = 0;
let least: usize = 1 << 10;

/** Returns n bytes of scratch, 8-aligned, not cleared. Without memory it throws. */
function take(n: u32): usize {
  if (n > MOST) throw new RangeError("more than 1 GiB");
  const at = top;
  const size = (usize(n) + 7) & ~7;
  if (size > chunkEnd - at) return takeChunk(size);
  top = at + size;
  return at;
}

function takeChunk(size: usize): usize {
  const room = HEAD + max(size, max(least, 2 * (chunkEnd - chunk)));
  const fresh = heap.alloc(room);
  store<usize>(fresh, chunk);
  chunk = fresh;
  chunkEnd = fresh + room;
  top = fresh + HEAD + size;
  return fresh + HEAD;
}

/** Returns n bytes that are 0. They are few, and memory.fill is dear for few. */
function zeroed(n: usize): usize {
  const at = take(u32(n));
  for (let i: usize = 0; i < n; i += 8) store<u64>(at + i, 0);
  return at;
}

/** Starts scratch afresh: the last and largest chunk is used again. */
function reset(): void {
  if (!chunk) return;
  for (let old = load<usize>(chunk); old; ) {
    const before = load<usize>(old);
    heap.free(old);
    old = before;
  }
  store<usize>(chunk, 0);
  top = chunk + HEAD;
}

/** Keeps for ever what was taken so far. */
function seal(): void {
  chunk = top = chunkEnd = 0;
  least = 64 << 10;
}

// @ts-ignore: decorator
@inline
function span(at: usize, length: i32): Bytes {
  const b = changetype<Bytes>(take(u32(offsetof<Bytes>())));
  b.at = at;
  b.length = length;
  return b;
}

function copied(from: usize, n: i32): Bytes {
  const at = take(n);
  memory.copy(at, from, n);
  return span(at, n);
}

function alike(a: usize, b: usize, n: i32): bool {
  for (; n >= 8; n -= 8, a += 8, b += 8) if (load<u64>(a) != load<u64>(b)) return false;
  for (; n > 0; n--, a++, b++) if (load<u8>(a) != load<u8>(b)) return false;
  return true;
}

/** Writes a string in UTF-8 where there is room for as many bytes as it has units, if it is ASCII alone. */
function ascii(s: string, to: usize): bool {
  const from = changetype<usize>(s);
  for (let i: usize = 0, n = usize(s.length); i < n; i++) {
    const c = load<u16>(from + 2 * i);
    if (c >= 0x80) return false;
    store<u8>(to + i, c);
  }
  return true;
}

function same(a: Bytes, b: Bytes): bool {
  return a.length == b.length && alike(a.at, b.at, a.length);
}

// ---- the calls

const PAGE: u64 = 65536;

let transformer: ((r: Record, out: Out) => void) | null = null;
let configurer: ((config: Bytes) => string | null) | null = null;
let sealed = false;
let failure: usize = 0; // Bytes: what foldrun_error says

let arena: usize = 0;
let arenaSize: u64 = 0;
let frame: usize = 0; // the in frame of this call

// The out frame: header, a result for each record, entries; and the result of the record in hand.
const IN_MAGIC: u32 = 0x31495246;
const OUT_MAGIC: u32 = 0x314f5246;
const out = new Out();
let table: usize = heap.alloc(4096); // now, so that the heap knows where it is before the arena gets pages of its own
let tableSize: usize = 4096;
let tableEnd: usize = 0;
let status: u8 = OK;
let failCode: u16 = 0;
let failText: Bytes | null = null;

/** Makes room for one more entry and returns its place. */
function entry(): usize {
  if (tableEnd - table + 32 > tableSize) grow(2 * tableSize);
  const e = tableEnd;
  tableEnd = e + 32;
  return e;
}

function grow(size: usize): void {
  const used = tableEnd - table;
  table = heap.realloc(table, size);
  tableSize = size;
  tableEnd = table + used;
}

/** The marker of the ABI's major version. */
export function foldrun_abi_v1(): void {}

/** The arena has pages of its own, since the heap would trap where they are not to be had, and this says 0. */
export function foldrun_buffer(least: u32): usize {
  if (least <= arenaSize && arena) return arena;
  if (least > MOST) return 0;
  const twice = pages(max(u64(least), 2 * arenaSize));
  let page = memory.grow(twice);
  arenaSize = u64(twice) * PAGE;
  if (page < 0) {
    page = memory.grow(pages(least));
    arenaSize = u64(pages(least)) * PAGE;
  }
  arena = page < 0 ? 0 : usize(page) << 16;
  if (page < 0) arenaSize = 0;
  return arena;
}

function pages(bytes: u64): i32 {
  return i32((max<u64>(bytes, PAGE) + PAGE - 1) / PAGE);
}

function refuse(why: string): i32 {
  failure = changetype<usize>(bytesOf(why));
  return 1;
}

export function foldrun_init(at: usize, length: u32): i32 {
  if (!transformer) return refuse("the plugin has no transform: call register at the top level");
  const take = configurer;
  if (take) {
    const why = take(copied(at, length));
    if (why !== null) return refuse(why);
  }
  return 0;
}

export function foldrun_error(): u64 {
  if (!failure) return 0;
  const text = changetype<Bytes>(failure);
  return (u64(text.at) << 32) | u64(text.length);
}

export function foldrun_transform(at: usize, length: u32): u64 {
  if (sealed) {
    reset();
  } else {
    seal();
    sealed = true;
  }
  const transform = transformer;
  if (!transform) {
    refuse("the plugin has no transform: call register at the top level");
    return 0;
  }
  const records = at == arena ? recordsOf(at, length) : -1;
  if (records < 0) {
    refuse("the in frame is none of ABI version 1");
    return 0;
  }
  frame = at;
  const results: usize = 32 + 16 * usize(records);
  tableEnd = table;
  if (results > tableSize) grow(2 * results);
  tableEnd = table + results;
  let r = at + load<u16>(at, 4);
  const stride = usize(load<u16>(at, 6));
  for (let i = 0; i < records; i++, r += stride) {
    store<u32>(at, i, 24); // must be there if transform traps
    one(transform, changetype<Record>(r), 32 + 16 * usize(i));
  }
  const entries = u32((tableEnd - table - results) / 32);
  store<u32>(table, OUT_MAGIC);
  store<u64>(table, 32 | (16 << 16) | (32 << 32), 4);
  store<u32>(table, records, 12);
  store<u32>(table, entries, 16);
  store<u32>(table, 0, 20);
  store<u64>(table, 0, 24);
  return (u64(table) << 32) | u64(tableEnd - table);
}

/** Transforms one record and writes its result, at an offset in the out frame. */
function one(transform: (r: Record, out: Out) => void, r: Record, at: usize): void {
  const before = tableEnd - table;
  status = OK;
  failCode = 0;
  failText = null;
  transform(r, out);
  if (status != OK) tableEnd = table + before;
  const result = table + at;
  store<u32>(result, u32(status) | (u32(failCode) << 16));
  store<u32>(result, u32((tableEnd - table - before) / 32), 4);
  const text = failText;
  store<u32>(result, text ? u32(text.at) : 0, 8);
  store<u32>(result, text ? text.length : 0, 12);
}

/**
 * Returns how many records the in frame holds, or -1 if it is none. A later minor version of the ABI may have longer headers
 * and records, so both are stepped over by the sizes that the frame states.
 */
function recordsOf(at: usize, length: u32): i32 {
  if (length < 32 || load<u32>(at) != IN_MAGIC || load<u32>(at, 20) != length) return -1;
  const header = u64(load<u16>(at, 4));
  const stride = u64(load<u16>(at, 6));
  const records = u64(load<u32>(at, 8));
  const names = u64(load<u32>(at, 16)) + 16 * u64(load<u32>(at, 12));
  if (header < 32 || header % 8 || stride < 64 || stride % 8) return -1;
  return header + stride * records > length || names > length ? -1 : i32(records);
}
