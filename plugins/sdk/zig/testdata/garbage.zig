//! Garbage does what by-country does with strings and a map that it throws away.
const std = @import("std");
const foldrun = @import("foldrun.zig");

comptime {
    foldrun.plugin(@This());
}
pub const panic = foldrun.panic;

pub fn transform(r: *const foldrun.Record, out: *foldrun.Out) !void {
    const names = [_][]const u8{ "country", "admin1", "name", "id", "population" };
    var city: std.StringHashMapUnmanaged([]const u8) = .empty;
    for (names, foldrun.fields(r.value(), &names)) |name, value| {
        const v = value orelse return out.fail(1, name);
        try city.put(foldrun.allocator, name, try foldrun.allocator.dupe(u8, v.text() orelse v.raw));
    }
    const key = foldrun.print("{s}/{s}/{s}", .{ city.get("country").?, city.get("admin1").?, city.get("name").? });
    out.emit(0, key, foldrun.print("{{\"id\":{s},\"population\":{s}}}", .{ city.get("id").?, city.get("population").? }));
}
