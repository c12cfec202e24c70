//! by-country files each city under country/admin1/name, so that a prefix names a country or a part of one.
const std = @import("std");
const foldrun = @import("foldrun.zig");

comptime {
    foldrun.plugin(@This());
}
pub const panic = foldrun.panic;

pub fn transform(r: *const foldrun.Record, out: *foldrun.Out) !void {
    var city: [5][]const u8 = undefined;
    for (&city, foldrun.fields(r.value(), &.{ "country", "admin1", "name", "id", "population" })) |*raw, value| {
        raw.* = (value orelse return out.fail(1, "country, admin1, name, id or population is missing")).raw;
    }
    const country, const admin1, const name, const id, const population = city;
    const key = foldrun.concat(&.{ try text(country, out), "/", try text(admin1, out), "/", try text(name, out) });
    const value = foldrun.concat(&.{ "{\"id\":", id, ",\"population\":", population, "}" });
    out.emit(0, key, value);
}

fn text(raw: []const u8, out: *foldrun.Out) ![]const u8 {
    const value: foldrun.Json = .{ .raw = raw };
    return value.text() orelse out.fail(2, foldrun.concat(&.{ "not a string: ", raw }));
}

test "paris" {
    const got = try foldrun.attempt(@This(), .{ .key = "1", .value =
        \\{"id":1,"name":"P\u00e9","country":"FR","admin1":"11","population":5}
    });
    try std.testing.expectEqual(1, got.len);
    try std.testing.expectEqualStrings("FR/11/Pé", got[0].key);
    try std.testing.expectEqualStrings("{\"id\":1,\"population\":5}", got[0].value);
    try std.testing.expectError(error.Failed, foldrun.attempt(@This(), .{ .key = "1", .value = "{}" }));
}
