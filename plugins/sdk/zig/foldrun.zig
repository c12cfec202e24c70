//! The SDK for foldrun plugins in Zig: this one file, ABI version 1, for Zig 0.17. Copy it into your plugin:
//!
//!     const foldrun = @import("foldrun.zig");
//!
//!     comptime {
//!         foldrun.plugin(@This());
//!     }
//!     pub const panic = foldrun.panic;
//!
//!     pub fn transform(r: *const foldrun.Record, out: *foldrun.Out) !void {
//!         const email = foldrun.field(r.value(), &.{"email"}) orelse return error.Skip;
//!         const text = email.text() orelse return out.fail(1, "email is not a string");
//!         out.emit(0, text, r.key());
//!     }
//!
//! `foldrun plugin build` builds it, for the target wasm32-freestanding.
//!
//! A transform says what one record yields now; the host compares that with what the record yielded before and stores the
//! difference. It must depend on the record and the config alone: a variable that remembers something from one record to
//! the next is a bug, since the host makes and drops instances as it likes.
//!
//! # Memory
//!
//! Lowest address first: stack, data, the arena that the host writes frames into, what the config needs, scratch. Every call
//! into the module starts scratch afresh, so nothing need be freed, and memory stays as large as the dearest call needed.
//! `allocator` gives scratch. What a record's methods return are views of the arena. What is emitted is copied, unless it
//! is in one of these already.
//!
//! # Errors
//!
//! error.Skip filters the record out; `return out.fail(code, message)` sends it to quarantine; any other error does, too, with
//! the code `code_other` and the error's name. A panic ends the instance, after a line in the host's log: the host tries the
//! record alone on a fresh one, quarantines it if it fails again, and goes on behind it.

const std = @import("std");
const builtin = @import("builtin");

const wasm = builtin.cpu.arch.isWasm(); // else these are a plugin's own tests

// ---- the plugin

/// Makes the module's exports, at compile time. P has
///
///     pub fn transform(r: *const Record, out: *Out) !void
///
/// or, where there is a config,
///
///     pub fn configure(config: []const u8) !Config
///     pub fn transform(config: *const Config, r: *const Record, out: *Out) !void
///
/// Configure is called once on each instance, before any transform, with the fold's config: a JSON object that the manifest's
/// schema allows. The bytes stay, and so does what it allocates in scratch. Its error stops the fold from starting, with the
/// error's name as the reason, or that of `return refuse(reason)`.
pub fn plugin(comptime P: type) void {
    if (!wasm) return;
    const Calls = struct {
        fn abi() callconv(.c) void {}

        fn buffer(min: u32) callconv(.c) usize {
            return @intFromPtr((arenaOf(min) orelse return 0).ptr);
        }

        fn init(at: [*]const u8, len: u32) callconv(.c) u32 {
            return @intFromBool(!start(P, at[0..len]));
        }

        fn transform(at: [*]align(8) u8, len: u32) callconv(.c) u64 {
            run(P, at, len) catch return 0;
            return pack(@as([*]u8, @ptrCast(frame_out))[0..out_len]);
        }

        fn why() callconv(.c) u64 {
            return pack(failure);
        }
    };
    @export(&Calls.abi, .{ .name = "foldrun_abi_v1" });
    @export(&Calls.buffer, .{ .name = "foldrun_buffer" });
    @export(&Calls.transform, .{ .name = "foldrun_transform" });
    @export(&Calls.why, .{ .name = "foldrun_error" });
    if (@hasDecl(P, "configure")) @export(&Calls.init, .{ .name = "foldrun_init" });
}

/// What a plugin's root file names as its panic, so that a line in the host's log says what it was about.
pub const panic = std.debug.FullPanic(struct {
    fn say(message: []const u8, _: ?usize) noreturn {
        log(.err, concat(&.{ "panic: ", message }));
        @trap();
    }
}.say);

// ---- records

/// What happened to a record's key.
pub const Op = enum(u8) {
    put = 1,
    delete = 2, // delete and purge are shown only if the manifest wants "delete"; their value is empty
    purge = 3,
    _,
};

const Span = extern struct { at: u32, len: u32 };

/// One message of the source, as its bytes lie in the arena.
pub const Record = extern struct {
    /// The message's stream sequence: what KV calls its revision.
    seq: u64,
    /// The message's time, nanoseconds since 1970.
    time: i64,
    key_span: Span,
    value_span: Span,
    subject_span: Span,
    header_first: u32,
    header_count: u32,
    op: Op,
    zero: [15]u8,

    /// The KV key, or the subject, or, with keying = "message", the seq as 8 bytes big-endian.
    pub fn key(r: *const Record) []const u8 {
        return bytesOf(r.key_span);
    }

    /// The message's payload.
    pub fn value(r: *const Record) []const u8 {
        return bytesOf(r.value_span);
    }

    /// The message's whole subject: $KV.BUCKET.KEY for a KV bucket.
    pub fn subject(r: *const Record) []const u8 {
        return bytesOf(r.subject_span);
    }

    pub const Header = struct { name: []const u8, value: []const u8 };

    /// Header i, in the message's order, of header_count. A name with two values comes twice.
    pub fn headerAt(r: *const Record, i: u32) Header {
        const names: [*]const [2]Span = @ptrCast(@alignCast(frame_in + frameIn().headers_at));
        const h = names[r.header_first..][0..r.header_count][i];
        return .{ .name = bytesOf(h[0]), .value = bytesOf(h[1]) };
    }

    /// The first value of a header. Names are compared as NATS does, case included.
    pub fn header(r: *const Record, name: []const u8) ?[]const u8 {
        for (0..r.header_count) |i| {
            const h = r.headerAt(@intCast(i));
            if (std.mem.eql(u8, h.name, name)) return h.value;
        }
        return null;
    }
};

const In = extern struct {
    magic: [4]u8,
    header_size: u16,
    record_size: u16,
    records: u32,
    headers: u32,
    headers_at: u32,
    length: u32,
    progress: u32,
    flags: u32,
};

comptime {
    std.debug.assert(@sizeOf(In) == 32 and @offsetOf(In, "progress") == 24);
    std.debug.assert(@sizeOf(Record) == 64 and @offsetOf(Record, "op") == 48);
}

var frame_in: [*]align(8) u8 = undefined; // of this call
var frame_in_len: usize = 0;

fn frameIn() *In {
    return @ptrCast(frame_in);
}

fn bytesOf(s: Span) []const u8 {
    return frame_in[0..frame_in_len][s.at..][0..s.len];
}

// ---- memory

const page = 65536;
const most = 1 << 30; // no single thing is larger

const Region = []align(8) u8;

var arena: Region = &.{};
/// What scratch is cut from, and what is taken of it. It adjoins the arena, unless what the config needs lies between.
var region: Region = &.{};
var low: usize = 0; // the first of it that a call may take
var top: usize = 0;

/// Fresh memory of whole pages: after `last`, if that ends where memory ends, so that the two are one.
fn claim(last: Region, n: usize) ?Region {
    if (n > most) return null;
    const pages = (n + page - 1) / page;
    if (!wasm) {
        const fresh = std.heap.page_allocator.alignedAlloc(u8, .@"8", pages * page) catch return null;
        return fresh;
    }
    const end = @wasmMemorySize(0) * page;
    if (@wasmMemoryGrow(0, pages) < 0) return null;
    if (last.len > 0 and @intFromPtr(last.ptr) + last.len == end) return last.ptr[0 .. last.len + pages * page];
    const fresh: [*]align(8) u8 = @ptrFromInt(end);
    return fresh[0 .. pages * page];
}

/// The arena, of at least min bytes. It only grows: in place over scratch, which is dead by now, where they adjoin.
fn arenaOf(min: usize) ?Region {
    if (arena.len > 0 and arena.len >= min) return arena;
    if (min > most) return null;
    const adjoin = low == 0 and region.len > 0 and @intFromPtr(arena.ptr) + arena.len == @intFromPtr(region.ptr);
    var have: Region = if (adjoin) arena.ptr[0 .. arena.len + region.len] else &.{};
    // One that cannot grow in place leaves the old one behind: by halves, so that all that is left is not much more.
    const least = if (adjoin) min else @max(min, arena.len + arena.len / 2);
    const want = std.mem.alignForward(usize, @max(least, 1), page);
    if (have.len < want) have = claim(have, want - have.len) orelse return null;
    if (have.len < want) have = claim(&.{}, want) orelse return null; // memory had grown, by another's hand
    arena = have[0..want];
    if (low == 0) {
        region = @alignCast(have[want..]);
        top = 0;
    }
    return arena;
}

/// n bytes of scratch, valid until the call ends. They are not cleared: write all of what is emitted, or it differs from time to
/// time. Without memory it traps, and the host judges the record at hand by itself.
pub fn alloc(n: usize) []align(8) u8 {
    const at = std.mem.alignForward(usize, top, 8);
    if (at > region.len or n > region.len - at) return more(n);
    top = at + n;
    return @alignCast(region[at..][0..n]);
}

noinline fn more(n: usize) []align(8) u8 {
    const start_at = std.mem.alignForward(usize, top, 8);
    const grown = claim(region, n + 8) orelse @trap();
    if (grown.ptr != region.ptr) {
        low = 0;
        top = 0;
    } else {
        top = start_at;
    }
    region = grown;
    const at = top;
    top += n;
    return @alignCast(region[at..][0..n]);
}

/// Scratch, as std takes it.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = vtable.alloc,
    .resize = vtable.resize,
    .remap = vtable.remap,
    .free = vtable.free,
} };

const vtable = struct {
    fn alloc(_: *anyopaque, n: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
        const extra = alignment.toByteUnits() - 1; // scratch is 8-aligned
        if (n > most) return null;
        const b = foldrun.alloc(if (extra < 8) n else n + extra);
        return @ptrFromInt(alignment.forward(@intFromPtr(b.ptr)));
    }

    fn resize(_: *anyopaque, b: []u8, _: std.mem.Alignment, n: usize, _: usize) bool {
        if (n <= b.len) return true;
        const at = @intFromPtr(b.ptr) -% @intFromPtr(region.ptr);
        if (at +% b.len != top or n > region.len - at) return false; // not the last
        top = at + n;
        return true;
    }

    fn remap(p: *anyopaque, b: []u8, a: std.mem.Alignment, n: usize, r: usize) ?[*]u8 {
        return if (vtable.resize(p, b, a, n, r)) b.ptr else null;
    }

    fn free(_: *anyopaque, _: []u8, _: std.mem.Alignment, _: usize) void {}
};

const foldrun = @This();

/// Some texts as one, in scratch.
pub fn concat(parts: []const []const u8) []const u8 {
    var n: usize = 0;
    for (parts) |part| n += part.len;
    const joined = alloc(n);
    var at: usize = 0;
    for (parts) |part| {
        @memcpy(joined[at..][0..part.len], part);
        at += part.len;
    }
    return joined;
}

/// A text in scratch, formatted as by std.fmt. It costs more than concat.
pub fn print(comptime format: []const u8, args: anytype) []const u8 {
    return std.fmt.allocPrint(allocator, format, args) catch @trap();
}

/// Bytes that stay until the call ends: a copy, unless these do.
fn keep(b: []const u8) []const u8 {
    const at = @intFromPtr(b.ptr);
    if (b.len == 0 or at -% @intFromPtr(arena.ptr) < arena.len or at -% @intFromPtr(region.ptr) < top) return b;
    return concat(&.{b});
}

// ---- what a record yields

const Status = enum(u8) { none = 0, ok = 1, filtered = 2, failed = 3 };

const Answer = extern struct {
    magic: [4]u8 = "FRO1".*,
    header_size: u16 = 32,
    result_size: u16 = 16,
    entry_size: u16 = 32,
    zero: u16 = 0,
    results: u32,
    entries: u32 = 0,
    flags: u32 = 0,
    zero_too: u64 align(8) = 0,
};

const Result = extern struct {
    status: Status = .ok,
    zero: u8 = 0,
    code: u16 = 0,
    entries: u32 = 0,
    message: Span = .{ .at = 0, .len = 0 },
};

const Row = extern struct {
    index: u16,
    flags: u16 = 0,
    key: Span align(4),
    value: Span,
    zero: u32 = 0,
    ttl: u64,
};

comptime {
    std.debug.assert(@sizeOf(Answer) == 32 and @offsetOf(Answer, "entries") == 16);
    std.debug.assert(@sizeOf(Result) == 16 and @sizeOf(Row) == 32 and @offsetOf(Row, "ttl") == 24);
}

/// The out frame being written: header, a result for each record, rows; room for more rows than there are.
var frame_out: *Answer = undefined;
var out_len: usize = 0;
var results: []Result = &.{};
var rows: []Row = &.{};

fn outLen(n: usize, entries: usize) usize {
    return @sizeOf(Answer) + @sizeOf(Result) * n + @sizeOf(Row) * entries;
}

/// Makes the out frame, or moves it to where there is room for more rows.
noinline fn table(n: usize, room: usize, have: usize) void {
    if (room > most / 64 or n > most / 64) @trap();
    const to = alloc(outLen(n, room));
    if (have > 0) @memcpy(to[0..outLen(n, have)], @as([*]u8, @ptrCast(frame_out)));
    frame_out = @ptrCast(to);
    results = @as([*]Result, @ptrCast(@alignCast(to.ptr + outLen(0, 0))))[0..n];
    rows = @as([*]Row, @ptrCast(@alignCast(to.ptr + outLen(n, 0))))[0..room];
}

/// The code of a record whose transform returned an error of the plugin's.
pub const code_other = 0xffff;

pub const second = std.time.ns_per_s;
pub const minute = 60 * second;
pub const hour = 60 * minute;

/// Takes what a record yields.
pub const Out = struct {
    entries: usize, // of the frame
    code: u16 = 0,
    message: []const u8 = "",

    /// Adds an entry. The index is its ordinal in the manifest. Key and value may be empty. A record that emits the same key
    /// of an index twice must give the same value and ttl.
    pub fn emit(out: *Out, index: u16, key: []const u8, value: []const u8) void {
        out.emitTtl(index, key, value, 0);
    }

    /// Adds an entry that goes ttl nanoseconds after the record's time, even if the record stays; 0 is never.
    pub fn emitTtl(out: *Out, index: u16, key: []const u8, value: []const u8, ttl: u64) void {
        const k = keep(key);
        const v = keep(value);
        if (out.entries == rows.len) table(results.len, 2 * rows.len, out.entries);
        rows[out.entries] = .{ .index = index, .key = spanOf(k), .value = spanOf(v), .ttl = ttl };
        out.entries += 1;
        if (!wasm) tried.append(std.heap.page_allocator, .{ .index = index, .key = k, .value = v, .ttl = ttl }) catch @trap();
    }

    /// Says why the record cannot be transformed; the code is the plugin's own. It is an error to return:
    /// `return out.fail(1, "no name")`.
    pub fn fail(out: *Out, code: u16, message: []const u8) error{Failed} {
        out.code = code;
        out.message = keep(message);
        return error.Failed;
    }
};

/// In a test, on a machine of 64 bits, the address means nothing.
fn spanOf(b: []const u8) Span {
    return .{ .at = @truncate(@intFromPtr(b.ptr)), .len = @intCast(b.len) };
}

// ---- JSON

/// Finds some fields in the top level of an object, in one pass that stops when it has them. Of a name that comes twice the
/// first counts. All are null where the text is no object.
pub fn fields(object: []const u8, comptime names: []const []const u8) [names.len]?Json {
    var values: [names.len]?Json = @splat(null);
    _ = scan(object, names, &values);
    return values;
}

/// Finds one field: `field(json, &.{ "address", "city" })` is that of an object within the object.
pub fn field(object: []const u8, path: []const []const u8) ?Json {
    var at: Json = .{ .raw = object };
    for (path) |name| {
        var values: [1]?Json = .{null};
        _ = scan(at.raw, &.{name}, &values);
        at = values[0] orelse return null;
    }
    return at;
}

/// Returns null where the text ends, or is no JSON.
fn scan(b: []const u8, names: []const []const u8, values: []?Json) ?void {
    var left = names.len;
    var p = space(b, 0);
    if (p == b.len or b[p] != '{') return null;
    while (left > 0) {
        const open = space(b, p + 1);
        if (open == b.len or b[open] != '"') return null;
        p = stop(b, open + 1);
        if (p == b.len) return null;
        var name = b[open + 1 .. p];
        if (b[p] == '"') {
            p += 1;
        } else {
            p = stringEnd(b, open) orelse return null;
            name = (Json{ .raw = b[open..p] }).text() orelse return null;
        }
        p = space(b, p);
        if (p == b.len or b[p] != ':') return null;
        const start_at = space(b, p + 1);
        p = valueEnd(b, start_at) orelse return null;
        for (names, values) |want, *value| {
            if (value.* == null and std.mem.eql(u8, want, name)) {
                value.* = .{ .raw = b[start_at..p] };
                left -= 1;
                break;
            }
        }
        p = space(b, p);
        if (p == b.len or b[p] != ',') return null;
    }
}

/// One raw value in a JSON text: `"Paris"`, `-1.5`, `{…}`, `null`.
///
/// The scanner finds, it does not validate: it reads well-formed JSON rightly, and ill-formed JSON to some answer or to
/// null, always the same one. Raw values of a well-formed text may be put into another JSON text as they are.
pub const Json = struct {
    raw: []const u8,

    /// The text of a string, if it is one: where it stands, or, if it holds escapes, in scratch. Half of a surrogate pair
    /// becomes U+FFFD.
    pub fn text(v: Json) ?[]const u8 {
        if (v.raw.len < 2 or v.raw[0] != '"' or v.raw[v.raw.len - 1] != '"') return null;
        const inner = v.raw[1 .. v.raw.len - 1];
        return if (stop(inner, 0) == inner.len) inner else unescape(inner);
    }

    /// A whole number, if it is one within i64. 1.0 and 1e6 are none.
    pub fn int(v: Json) ?i64 {
        const minus = v.raw.len > 0 and v.raw[0] == '-';
        const digits = v.raw[@intFromBool(minus)..];
        if (digits.len == 0) return null;
        var n: i64 = 0; // below zero, where there is room for one more
        for (digits) |c| {
            const digit = c -% '0';
            if (digit > 9) return null;
            n = std.math.sub(i64, std.math.mul(i64, n, 10) catch return null, digit) catch return null;
        }
        return if (minus) n else std.math.negate(n) catch null;
    }

    /// Any number, if it is one within f64: the nearest.
    pub fn float(v: Json) ?f64 {
        if (!isNumber(v.raw)) return null;
        const x = std.fmt.parseFloat(f64, v.raw) catch return null;
        return if (std.math.isFinite(x)) x else null;
    }

    /// A true or false, if it is one.
    pub fn boolean(v: Json) ?bool {
        if (std.mem.eql(u8, v.raw, "true")) return true;
        return if (std.mem.eql(u8, v.raw, "false")) false else null;
    }
};

/// A text as a JSON string, quotes included, in scratch. Bytes from 0x80 on are taken as they are.
pub fn quoted(plain: []const u8) []const u8 {
    const to = alloc(6 * plain.len + 2);
    to[0] = '"';
    var n: usize = 1;
    for (plain) |c| {
        const hex = "0123456789abcdef";
        const short: u8 = switch (c) {
            '"', '\\' => c,
            '\n' => 'n',
            '\t' => 't',
            else => 0,
        };
        if (short != 0) {
            to[n..][0..2].* = .{ '\\', short };
            n += 2;
        } else if (c < ' ') {
            to[n..][0..6].* = .{ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
            n += 6;
        } else {
            to[n] = c;
            n += 1;
        }
    }
    to[n] = '"';
    return to[0 .. n + 1];
}

/// Passes over what JSON takes for space, and the other control characters, too.
fn space(b: []const u8, from: usize) usize {
    var p = from;
    while (p < b.len and b[p] <= ' ') p += 1;
    return p;
}

/// Marks the lowest byte of a word that is c, by its top bit; bits above it mean nothing.
fn same(word: u64, comptime c: u8) u64 {
    const ones = 0x0101010101010101;
    const w = word ^ ones * @as(u64, c);
    return (w -% ones) & ~w & ones << 7;
}

/// Finds the first quote or backslash from a place on, or the end. Eight bytes at a time: this loop is where reading JSON
/// spends its time, and its fuel.
fn stop(b: []const u8, from: usize) usize {
    var p = from;
    while (b.len - p >= 8) : (p += 8) {
        const word = std.mem.readInt(u64, b[p..][0..8], .little);
        const marks = same(word, '"') | same(word, '\\');
        if (marks != 0) return p + @ctz(marks) / 8;
    }
    while (p < b.len and b[p] != '"' and b[p] != '\\') p += 1;
    return p;
}

/// What follows the closing quote of the string at from.
fn stringEnd(b: []const u8, from: usize) ?usize {
    var p = stop(b, from + 1);
    while (b.len - p >= 2 and b[p] == '\\') p = stop(b, p + 2);
    return if (p < b.len and b[p] == '"') p + 1 else null;
}

/// What follows the partner of the { or [ at from.
fn nestedEnd(b: []const u8, from: usize) ?usize {
    var p = from;
    var depth: u32 = 0;
    while (p < b.len) : (p += 1) {
        switch (b[p]) {
            '"' => p = (stringEnd(b, p) orelse return null) - 1,
            '{', '[' => depth += 1,
            '}', ']' => {
                depth -= 1;
                if (depth == 0) return p + 1;
            },
            else => {},
        }
    }
    return null;
}

/// What follows the value at from.
fn valueEnd(b: []const u8, from: usize) ?usize {
    if (from == b.len) return null;
    switch (b[from]) {
        '"' => return stringEnd(b, from),
        '{', '[' => return nestedEnd(b, from),
        else => {},
    }
    var p = from;
    while (p < b.len and (b[p] > ',' or b[p] == '+') and b[p] | 0x20 != '}') p += 1; // ] | 0x20 is }
    return if (p == from) null else p;
}

/// The text that is written so between quotes, in scratch.
fn unescape(from: []const u8) ?[]const u8 {
    const to = alloc(from.len); // no escape makes it longer
    var n: usize = 0;
    var p: usize = 0;
    while (p < from.len) {
        if (from[p] != '\\') {
            to[n] = from[p];
            n += 1;
            p += 1;
            continue;
        }
        if (from.len - p < 2) return null;
        const kind = from[p + 1];
        p += 2;
        to[n] = switch (kind) {
            '"', '\\', '/' => kind,
            'b' => 8,
            'f' => 12,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                const e = escaped(from[p..]) orelse return null;
                p += e.used;
                n += std.unicode.utf8Encode(e.char, to[n..][0..]) catch unreachable;
                continue;
            },
            else => return null,
        };
        n += 1;
    }
    return to[0..n];
}

/// Reads what follows \u, twice if it is a pair, and says how many bytes that took.
fn escaped(b: []const u8) ?struct { char: u21, used: usize } {
    const c: u21 = hex4(b) orelse return null;
    if (c < 0xd800 or c >= 0xe000) return .{ .char = c, .used = 4 };
    if (c < 0xdc00 and b.len >= 6 and b[4] == '\\' and b[5] == 'u') {
        const half: u21 = hex4(b[6..]) orelse 0;
        if (half >= 0xdc00 and half < 0xe000) return .{ .char = 0x10000 + ((c - 0xd800) << 10) + (half - 0xdc00), .used = 10 };
    }
    return .{ .char = 0xfffd, .used = 4 };
}

fn hex4(b: []const u8) ?u16 {
    if (b.len < 4) return null;
    var v: u16 = 0;
    for (b[0..4]) |c| v = v << 4 | (std.fmt.charToDigit(c, 16) catch return null);
    return v;
}

/// Whether that is digits with a sign, a fraction and an exponent, or some of these. parseFloat takes more.
fn isNumber(v: []const u8) bool {
    var p: usize = @intFromBool(v.len > 0 and v[0] == '-');
    p = digitsEnd(v, p) orelse return false;
    if (p < v.len and v[p] == '.') p = digitsEnd(v, p + 1) orelse return false;
    if (p < v.len and v[p] | 0x20 == 'e') {
        p += 1;
        if (p < v.len and (v[p] == '-' or v[p] == '+')) p += 1;
        p = digitsEnd(v, p) orelse return false;
    }
    return p == v.len;
}

fn digitsEnd(v: []const u8, from: usize) ?usize {
    var p = from;
    while (p < v.len and std.ascii.isDigit(v[p])) p += 1;
    return if (p == from) null else p;
}

// ---- tuple keys

/// A key made of typed elements, in scratch, whose bytes sort as the tuples do: abi/TUPLE.md has them.
///
///     out.emit(0, foldrun.tuple(.{ country, foldrun.desc(population) }), value);
///
/// Texts are strings, or bytes by `blob(x)`; null, booleans, integers up to 64 bits, floats and optionals are what they are.
/// In one place of a tuple, null is before false, true, integers, floats, bytes and strings. Integers and floats are not one
/// order: decide for one. `desc(x)` sorts the other way round. Tuples are continued by concat.
pub fn tuple(elements: anytype) []const u8 {
    var parts: [elements.len][]const u8 = undefined;
    inline for (elements, &parts) |e, *part| part.* = element(e);
    return if (parts.len == 1) parts[0] else concat(&parts);
}

pub fn Desc(comptime T: type) type {
    return struct {
        descending: T,
    };
}

pub fn desc(v: anytype) Desc(@TypeOf(v)) {
    return .{ .descending = v };
}

pub const Blob = struct { blob: []const u8 };

pub fn blob(b: []const u8) Blob {
    return .{ .blob = b };
}

fn element(v: anytype) []const u8 {
    const T = @TypeOf(v);
    switch (@typeInfo(T)) {
        .null => return "\x04",
        .optional => return if (v) |some| element(some) else "\x04",
        .bool => return if (v) "\x09" else "\x08",
        .int, .comptime_int => return if (v < 0) integer(v, true) else integer(v, false),
        .float, .comptime_float => return floating(v),
        else => {},
    }
    if (T == Blob) return escapeZeros(0x40, v.blob);
    if (@typeInfo(T) == .@"struct" and @hasField(T, "descending")) {
        const ascending = element(v.descending);
        const flipped = alloc(ascending.len);
        for (flipped, ascending) |*to, c| to.* = ~c;
        return flipped;
    }
    return escapeZeros(0x50, v);
}

fn integer(v: anytype, comptime minus: bool) []const u8 {
    const magnitude: u64 = if (minus) @intCast(-@as(i128, v)) else @intCast(v);
    const n = 8 - @clz(magnitude) / 8;
    const to = alloc(9);
    to[0] = if (minus) 0x18 - @as(u8, n) else 0x18 + @as(u8, n);
    const bytes = std.mem.toBytes(std.mem.nativeToBig(u64, if (minus) ~magnitude else magnitude));
    @memcpy(to[1..][0..n], bytes[8 - n ..]);
    return to[0 .. 1 + n];
}

/// There is one zero, and one NaN, which is above all numbers.
fn floating(v: f64) []const u8 {
    const sign = 1 << 63;
    const bits: u64 = @bitCast(v);
    const word: u64 = if (v != v) 0x7ff8000000000000 | sign else if (v == 0) sign else if (v < 0) ~bits else bits | sign;
    const to = alloc(9);
    to[0] = 0x30;
    to[1..9].* = std.mem.toBytes(std.mem.nativeToBig(u64, word));
    return to;
}

fn escapeZeros(first: u8, plain: []const u8) []const u8 {
    const to = alloc(plain.len + std.mem.countScalar(u8, plain, 0) + 3);
    to[0] = first;
    var n: usize = 1;
    for (plain) |c| {
        to[n] = c;
        n += 1;
        if (c == 0) {
            to[n] = 0xff;
            n += 1;
        }
    }
    to[n..][0..2].* = .{ 0, 1 };
    return to;
}

// ---- log

/// How much a line of the log matters.
pub const Level = enum(u32) { debug, info, warn, err };

/// Writes a line to the host's log, up to 1 KiB of it. It is for finding mistakes: a line costs more than most records.
pub fn log(level: Level, text: []const u8) void {
    if (wasm) host.log(level, text.ptr, text.len) else std.debug.print("foldrun: {t}: {s}\n", .{ level, text });
}

const host = struct {
    extern "foldrun_v1" fn log(level: Level, text: [*]const u8, len: usize) void;
};

// ---- the calls

var failure: []const u8 = ""; // what foldrun_error says

/// An error for configure to return, with a reason that the operator reads: `return foldrun.refuse("tenant is missing")`.
pub fn refuse(reason: []const u8) error{Refused} {
    failure = reason;
    return error.Refused;
}

fn pack(b: []const u8) u64 {
    return @as(u64, @intFromPtr(b.ptr)) << 32 | b.len;
}

/// What configure made of the config.
fn Configured(comptime P: type) type {
    const Config = if (@hasDecl(P, "configure"))
        @typeInfo(@typeInfo(@TypeOf(P.configure)).@"fn".return_type.?).error_union.payload
    else
        void;
    return struct {
        const plugin_of = P; // so that each plugin has a variable of its own
        var config: ?Config = null;
    };
}

fn start(comptime P: type, config: []const u8) bool {
    top = low;
    const text = concat(&.{config});
    failure = "";
    Configured(P).config = P.configure(text) catch |e| {
        if (failure.len == 0) failure = @errorName(e);
        return false;
    };
    low = std.mem.alignForward(usize, top, 8); // what it took stays
    top = low;
    return true;
}

/// Transforms the records of a frame and makes the answer.
fn run(comptime P: type, at: [*]align(8) u8, len: usize) error{NoFrame}!void {
    failure = "the in frame is none of ABI version 1";
    frame_in = at;
    frame_in_len = len;
    if (at != arena.ptr or len < @sizeOf(In) or len > arena.len or !isFrame(len)) return error.NoFrame;
    if (@hasDecl(P, "configure") and Configured(P).config == null) {
        failure = "foldrun_init was not called";
        return error.NoFrame;
    }
    const in = frameIn();
    top = low;
    table(in.records, 2 * in.records + 8, 0);
    frame_out.* = .{ .results = in.records };
    const progress: *volatile u32 = &in.progress; // must be there if transform traps
    var out: Out = .{ .entries = 0 };
    for (0..in.records) |i| {
        const r: *const Record = @ptrCast(@alignCast(at + in.header_size + i * in.record_size));
        progress.* = @intCast(i);
        const before = out.entries;
        out = .{ .entries = before };
        const result = one(P, r, &out);
        if (result.status != .ok) out.entries = before;
        results[i] = result;
        results[i].entries = @intCast(out.entries - before);
    }
    frame_out.entries = @intCast(out.entries);
    out_len = outLen(in.records, out.entries);
}

/// A later minor version of the ABI may have longer headers and records, so both are stepped over by their sizes.
fn isFrame(len: usize) bool {
    const in = frameIn();
    return std.mem.eql(u8, &in.magic, "FRI1") and in.length == len and
        in.header_size >= @sizeOf(In) and in.header_size % 8 == 0 and
        in.record_size >= @sizeOf(Record) and in.record_size % 8 == 0 and
        fits(len, in.header_size, in.records, in.record_size) and
        in.headers_at % 8 == 0 and fits(len, in.headers_at, in.headers, 16);
}

fn fits(len: usize, from: usize, n: usize, size: usize) bool {
    return n <= len / size and from <= len - n * size;
}

fn one(comptime P: type, r: *const Record, out: *Out) Result {
    const done: anyerror!void = if (@hasDecl(P, "configure"))
        P.transform(&Configured(P).config.?, r, out)
    else
        P.transform(r, out);
    done catch |e| {
        if (e == error.Skip) return .{ .status = .filtered };
        if (e != error.Failed) {
            out.code = code_other;
            out.message = @errorName(e);
        }
        if (!wasm) tried_message = out.message;
        return .{ .status = .failed, .code = out.code, .message = spanOf(out.message) };
    };
    return .{};
}

// ---- tests

/// A record to try a transform with.
pub const Message = struct {
    key: []const u8,
    value: []const u8 = "",
    subject: []const u8 = "", // none is as key
    headers: []const Record.Header = &.{},
    seq: u64 = 1,
    time: i64 = 0,
    op: Op = .put,
    config: []const u8 = "{}",
};

/// One of the entries that a record yields.
pub const Entry = struct { index: u16, key: []const u8, value: []const u8, ttl: u64 };

var tried: std.ArrayList(Entry) = .empty;

/// Runs a plugin's transform on one record, for its own tests: `zig test plugin.zig`, on the machine at hand. It answers
/// the entries, valid until the next call, or error.Skip, or error.Failed, and then `failed` says why.
pub fn attempt(comptime P: type, message: Message) ![]const Entry {
    if (@hasDecl(P, "configure")) {
        if (!start(P, message.config)) return error.Refused;
    }
    const made = try frameOf(message);
    defer std.heap.page_allocator.free(made);
    const at = arenaOf(made.len) orelse return error.OutOfMemory;
    @memcpy(at[0..made.len], made);
    tried.clearRetainingCapacity();
    try run(P, at.ptr, made.len);
    failed = .{ .code = results[0].code, .message = tried_message };
    return switch (results[0].status) {
        .ok => tried.items,
        .filtered => error.Skip,
        else => error.Failed,
    };
}

/// Of the last record that failed in attempt.
pub var failed: struct { code: u16 = 0, message: []const u8 = "" } = .{};
var tried_message: []const u8 = "";

/// The in frame that holds a message alone.
fn frameOf(m: Message) ![]u8 {
    const gpa = std.heap.page_allocator;
    var heap: std.ArrayList(u8) = .empty;
    defer heap.deinit(gpa);
    const tables = @sizeOf(In) + @sizeOf(Record) + 16 * m.headers.len;
    var made: std.ArrayList(u8) = .empty;
    var names: std.ArrayList(u8) = .empty;
    defer names.deinit(gpa);
    const add = struct {
        fn add(to: *std.ArrayList(u8), before: usize, b: []const u8) !Span {
            defer to.appendSlice(gpa, b) catch {};
            return .{ .at = @intCast(before + to.items.len), .len = @intCast(b.len) };
        }
    }.add;
    const record: Record = .{
        .seq = m.seq,
        .time = m.time,
        .key_span = try add(&heap, tables, m.key),
        .value_span = try add(&heap, tables, m.value),
        .subject_span = try add(&heap, tables, if (m.subject.len > 0) m.subject else m.key),
        .header_first = 0,
        .header_count = @intCast(m.headers.len),
        .op = m.op,
        .zero = @splat(0),
    };
    for (m.headers) |h| {
        const pair = [2]Span{ try add(&heap, tables, h.name), try add(&heap, tables, h.value) };
        try names.appendSlice(gpa, std.mem.asBytes(&pair));
    }
    const in: In = .{
        .magic = "FRI1".*,
        .header_size = @sizeOf(In),
        .record_size = @sizeOf(Record),
        .records = 1,
        .headers = @intCast(m.headers.len),
        .headers_at = @sizeOf(In) + @sizeOf(Record),
        .length = @intCast(tables + heap.items.len),
        .progress = std.math.maxInt(u32),
        .flags = 0,
    };
    for ([_][]const u8{ std.mem.asBytes(&in), std.mem.asBytes(&record), names.items, heap.items }) |part| {
        try made.appendSlice(gpa, part);
    }
    return made.toOwnedSlice(gpa);
}
