package main

import "testing"

func TestSimilar(t *testing.T) {
	streams := []string{"KV_users", "KV_orders", "EVENTS", "a", "b", "c", "d", "e", "f", "g"}
	for _, x := range []struct{ key, name, want string }{
		{"bucket", "usres", `a start waits for it; or was "users" meant?`},
		{"bucket", "KV_users", `a bucket's name is without KV_: write bucket = "users"`},
		{"bucket", "EVENTS", `there is a stream "EVENTS": write stream = "EVENTS"`},
		{"bucket", "far_away", "a start waits for it; there are the buckets users, orders"},
		{"stream", "orders", `there is a bucket "orders": write bucket = "orders"`},
		{"stream", "EVENT", `a start waits for it; or was "EVENTS" meant?`},
		{"stream", "far_away", "a start waits for it; there are the streams KV_users, KV_orders, EVENTS, a, b, c, d, e, …"},
	} {
		if got := similar(streams, x.key, x.name); got != x.want {
			t.Errorf("%s %s: %s", x.key, x.name, got)
		}
	}
	if got := similar(nil, "bucket", "users"); got != "a start waits for it; there are no buckets" {
		t.Error(got)
	}
}
