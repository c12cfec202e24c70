//! Behave does what the value of a record says, well or badly.
const std = @import("std");
const foldrun = @import("foldrun.zig");

const Out = foldrun.Out;
const Record = foldrun.Record;

comptime {
    foldrun.plugin(@This());
}
pub const panic = foldrun.panic;

pub const Config = struct {
    describe: bool,
    wanted: []const u8,
};

pub fn configure(config: []const u8) !Config {
    const describe, const throw, const wanted, const refuse = foldrun.fields(config, &.{ "describe", "throw", "wanted", "refuse" });
    if (throw != null) @panic("configure");
    if (refuse) |why| return foldrun.refuse(why.text().?);
    return .{ .describe = describe != null, .wanted = if (wanted) |w| w.text().? else "" };
}

pub fn transform(config: *const Config, r: *const Record, out: *Out) !void {
    if (config.describe) return all(r, out);
    const value = r.value();
    if (std.mem.startsWith(u8, value, "json:")) return json(value[5..], out);
    if (std.mem.startsWith(u8, value, "tupl:")) return tuple(value[5..], out);
    const Verb = enum { record, kinds, escaped, ttl, config, large, skip, @"error", other, name, log, throw, byte, null, @"unknown index", memory, leak, recurse };
    const verb = std.meta.stringToEnum(Verb, value) orelse .other;
    switch (verb) {
        .record => record(r, out),
        .kinds => {
            var array = [_]u8{ 'a', 0xff };
            out.emit(0, "string ü", &array);
            array[0] = 'b'; // what was emitted is a copy
            out.emit(0, &array, "cönst");
            out.emit(0, "numbers", foldrun.print("{} {} {} {}", .{ std.math.minInt(i64), std.math.maxInt(u64), -7, 0 }));
            out.emit(0, "json", foldrun.quoted("\"\\\n\t\x01ü"));
            out.emit(0, foldrun.tuple(.{ "t", 1 }), try foldrun.allocator.dupe(u8, value));
        },
        .escaped => {
            const text = foldrun.field(
                \\{"k\u0065y":"a\u00fc\n"}
            , &.{"key"}).?.text().?;
            out.emit(0, text, text[1..]);
        },
        .ttl => out.emitTtl(0, r.key(), "", foldrun.hour),
        .config => out.emit(0, "config", config.wanted),
        .large => for (0..250) |i| {
            const zeros = foldrun.alloc(4000);
            @memset(zeros, 0);
            out.emit(0, foldrun.print("{}", .{i}), zeros);
        },
        .skip => {
            out.emit(0, r.key(), "");
            return error.Skip;
        },
        .@"error" => {
            out.emit(0, r.key(), "");
            return out.fail(7, foldrun.print("text of {s}", .{value}));
        },
        .name => return error.NoNameAtAll,
        .log => foldrun.log(.warn, "a line"),
        .throw => {
            out.emit(0, r.key(), "");
            @panic("thrown");
        },
        .byte => out.emit(0, value[100..][0..1], ""),
        .null => out.emit(0, r.header("X-None").?, ""),
        .@"unknown index" => out.emit(7, "", ""),
        .memory => out.emit(0, foldrun.alloc(1 << 29), ""),
        .leak => while (true) {
            _ = try foldrun.allocator.create([1 << 20]u8);
        },
        .recurse => out.emit(@truncate(recurse(r.seq)), "", ""),
        .other => out.emit(0, r.key(), value),
    }
}

/// Emits all that there is of a record.
fn all(r: *const Record, out: *Out) void {
    const numbers = [_]u64{ r.seq, @bitCast(r.time) };
    out.emit(0, std.mem.asBytes(&numbers), &.{@backingInt(r.op)});
    out.emit(1, r.subject(), "");
    out.emit(2, r.key(), r.value());
    for (0..r.header_count) |i| {
        const h = r.headerAt(@intCast(i));
        out.emit(3, h.name, h.value);
    }
}

fn record(r: *const Record, out: *Out) void {
    const op = if (r.op == .put) "put" else "other";
    var text = foldrun.print("{} {} {s} {s}", .{ r.seq, r.time, r.subject(), op });
    for (0..r.header_count) |i| {
        const h = r.headerAt(@intCast(i));
        text = foldrun.concat(&.{ text, " ", h.name, "=", h.value });
    }
    if (r.header("X-Empty") == null or r.header("X-None") != null) text = foldrun.concat(&.{ text, " wrong" });
    if (r.header("X-Tag")) |tag| text = foldrun.concat(&.{ text, " ", tag });
    out.emit(0, r.key(), text);
    out.emit(1, r.subject(), "");
}

/// Emits what is found in a JSON text: the raw value, and all that it can be read as.
fn json(text: []const u8, out: *Out) !void {
    const names = [_][]const u8{ "a", "b", "c", "", "b\n", "long name of a field that nobody asks for" };
    const values = foldrun.fields(text, &names);
    var found: usize = 0;
    for (values) |v| found += @intFromBool(v != null);
    out.emit(0, "found", foldrun.print("{}", .{found}));
    for (values, names, 0..) |v, name, i| {
        const alone = foldrun.field(text, &.{name});
        if ((alone == null) != (v == null)) return out.fail(1, "alone and together differ");
        if (v) |some| {
            if (!std.mem.eql(u8, some.raw, alone.?.raw)) return out.fail(2, "alone and together differ");
            read(foldrun.print("{}", .{i}), some, out);
        }
    }
}

fn read(key: []const u8, v: foldrun.Json, out: *Out) void {
    out.emit(0, key, v.raw);
    if (v.text()) |text| out.emit(1, key, text);
    if (v.int()) |n| out.emit(2, key, foldrun.print("{}", .{n}));
    if (v.float()) |x| out.emit(3, key, foldrun.print("{}", .{@as(u64, @bitCast(x))}));
    if (v.boolean()) |x| out.emit(4, key, foldrun.print("{}", .{x}));
    if (std.mem.eql(u8, v.raw, "null")) out.emit(5, key, "");
    if (foldrun.field(v.raw, &.{ "x", "x" })) |inner| out.emit(6, key, inner.raw);
}

/// Reads elements, each a kind, a direction, a length and bytes, and emits their tuple.
fn tuple(elements: []const u8, out: *Out) void {
    var t: []const u8 = "";
    var rest = elements;
    while (rest.len > 0) {
        const n = std.mem.readInt(u32, rest[2..6], .little);
        const text = rest[6..][0..n];
        const number = if (n == 8) std.mem.readInt(u64, text[0..8], .little) else 0;
        const descending = rest[1] != 0;
        const e = switch (rest[0]) {
            0 => one(null, descending),
            1 => one(number != 0, descending),
            2 => one(@as(i64, @bitCast(number)), descending),
            3 => one(number, descending),
            4 => one(@as(f64, @bitCast(number)), descending),
            5 => one(foldrun.blob(text), descending),
            else => one(text, descending),
        };
        t = foldrun.concat(&.{ t, e });
        rest = rest[6 + n ..];
    }
    out.emit(0, t, "");
}

fn one(v: anytype, descending: bool) []const u8 {
    return if (descending) foldrun.tuple(.{foldrun.desc(v)}) else foldrun.tuple(.{v});
}

fn recurse(n: u64) u64 {
    var room: [512]u64 = @splat(n);
    std.mem.doNotOptimizeAway(&room);
    return recurse(n + 1) + room[@as(usize, @truncate(n)) % 512];
}
