package runtime

import (
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestPolicies: policies are told as a configuration has them.
func TestPolicies(t *testing.T) {
	value := "v"
	none := FoldOptions{}
	some := FoldOptions{Budget: &store.Budget{Least: 500}, DiskQuota: 3 << 29, OnDiverged: DivergedHalt, Upgrade: UpgradeManual, Staleness: 90 * time.Second,
		Jitter: 10 * time.Second, Rollback: 49 * time.Hour, Gates: []GateQuery{
			{Name: "a", Index: "main", ByKey: true, Key: "k", Value: &value, AtMost: 3}, {Name: "b", Index: "x", Prefix: "p", AtLeast: 2, AtMost: AnyNumber}}}
	for _, x := range []struct {
		o    FoldOptions
		want map[string]string
	}{
		{none, map[string]string{"error_budget": "1%", "disk_quota": "", "on_divergence": "rebuild", "upgrade": "auto", "max_staleness": "", "build_jitter": "",
			"rollback_window": ""}},
		{some, map[string]string{"error_budget": "500", "disk_quota": "1536MiB", "on_divergence": "halt", "upgrade": "manual", "max_staleness": "1m30s",
			"build_jitter": "10s", "rollback_window": "49h", "gate.a": `{ index = "main", key = "k", value = "v", at_least = 0, at_most = 3 }`,
			"gate.b": `{ index = "x", prefix = "p", at_least = 2 }`}},
	} {
		got := x.o.Policies()
		for name, want := range x.want {
			if got[name] != want {
				t.Errorf("%s is %q, not %q", name, got[name], want)
			}
		}
		if len(got) != len(x.want) {
			t.Errorf("%q", got)
		}
	}
	for want, d := range map[string]time.Duration{"1h30m": 90 * time.Minute, "30m": 30 * time.Minute, "20s": 20 * time.Second, "1h0m5s": time.Hour + 5*time.Second, "250ms": time.Second / 4} {
		if got := durationText(d); got != want {
			t.Errorf("%s is told as %s", d, got)
		}
	}
}
