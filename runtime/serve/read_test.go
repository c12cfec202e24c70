package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/client"
)

// TestFormats reads bytes in each form that they may be asked for, and asks for them in each.
func TestFormats(t *testing.T) {
	f := newFold(t)
	tuple := string(abi.Tuple{}.String("DE").Int(42))
	f.commit(entry{"s", 0, tuple, "{\"a\":\n [1, \"<\"]}", 0}, entry{"s", 0, "json", `"text"`, 0}, entry{"s", 0, "zz", "{", 0}, entry{"s", 0, "zzz", "\"\u0085\"", 0})
	s := newServer(t, f)
	const all = "/v1/folds/f/indexes/all/"
	const row = `200 {"rows":[{"key":{"base64":"UERFAAEZKg=="},"value":"{\"a\":\n [1, \"<\"]}","source":"s"}],"more":false}`
	for _, x := range []struct{ path, want string }{
		{"get?keyhex=504445000119 2A", `400 {"error":{"code":"bad_parameter","message":"keyhex is not hexadecimal","hint":"write two digits a byte"}}`},
		{"get?keyhex=5044450001192A", row},
		{"get?keytuple=(%22DE%22,42)", row},
		{"scan?prefixtuple=(%22DE%22)", row},
		{"scan?starttuple=(%22DE%22,42)&endtuple=(%22DE%22,43)", row},
		{"get?keytuple=DE", `400 {"error":{"code":"bad_parameter","message":"keytuple is not a tuple","hint":"write it as (\"DE\",42), percent-encoded"}}`},
		{"get?keytuple=(%22DE%22,42)&tuple=1", strings.Replace(row, `,"value"`, `,"tuple":"(\"DE\",42)","value"`, 1)},
		{"get?keytuple=(%22DE%22,42)&json=1", `200 {"rows":[{"key":{"base64":"UERFAAEZKg=="},"json":{"a":[1,"<"]},"source":"s"}],"more":false}`},
		{"get?key=json&json=1&tuple=1", `200 {"rows":[{"key":"json","json":"text","source":"s"}],"more":false}`},
		{"get?key=zz&json=1", `200 {"rows":[{"key":"zz","value":"{","source":"s"}],"more":false}`},
		{"get?key=zzz&json=1", `200 {"rows":[{"key":"zzz","value":{"base64":"IsKFIg=="},"source":"s"}],"more":false}`},
		{"get?key=zz&encoding=hex", `200 {"rows":[{"key":{"hex":"7a7a"},"value":{"hex":"7b"},"source":{"hex":"73"}}],"more":false}`},
		{"get?key=zz&encoding=base64", `200 {"rows":[{"key":{"base64":"eno="},"value":{"base64":"ew=="},"source":{"base64":"cw=="}}],"more":false}`},
		{"get?key=zz&encoding=text", `200 {"rows":[{"key":"zz","value":"{","source":"s"}],"more":false}`},
		{"get?key=zz&encoding=utf8", `400 {"error":{"code":"bad_parameter","message":"encoding is \"utf8\"","hint":"write text, base64 or hex"}}`},
		{"scan?keys_only=1&encoding=hex&tuple=1&limit=1", `200 {"rows":[{"key":{"hex":"5044450001192a"},"tuple":"(\"DE\",42)"}],"more":true,"next":{"after_key":{"base64":"UERFAAEZKg=="},"after_source":""}}`},
	} {
		if got, _ := ask(t, s, all+strings.ReplaceAll(x.path, " ", "%20")); got != x.want {
			t.Errorf("%s\n got %s\nwant %s", x.path, got, x.want)
		}
	}
}

// TestKinds reads keys, collisions and counts, whole and in pages of every size.
func TestKinds(t *testing.T) {
	f := newFold(t)
	var entries []entry
	for i := range 30 { // key k0 has one claimant, k1 two, …
		for k := range 8 {
			if i <= k {
				entries = append(entries, entry{fmt.Sprintf("s%02d", i), uint16(k % 2), fmt.Sprintf("k%d", k), "v", 0})
			}
		}
	}
	f.commit(entries...)
	s := newServer(t, f)
	for _, x := range []struct{ ask, keys, count string }{
		{"all/scan?keys_only=1", "k0 k2 k4 k6", `{"rows":16,"keys":4,"more":false}`},
		{"all/scan?keys_only=1&reverse=1", "k6 k4 k2 k0", ""},
		{"all/scan?keys_only=1&prefix=k2", "k2", `{"rows":3,"keys":1,"more":false}`},
		{"all/scan?keys_only=1&collisions=1", "k2 k4 k6", `{"rows":15,"keys":3,"more":false}`},
		{"all/scan?keys_only=1&collisions=1&reverse=1", "k6 k4 k2", ""},
		{"all/scan?collisions=1&end=k3", "k2 k2 k2", `{"rows":3,"keys":1,"more":false}`},
		{"all/scan?collisions=1&end=k3&reverse=1", "k2 k2 k2", ""},
		{"newest/scan?", "k1 k3 k5 k7", ""},
		{"newest/scan?keys_only=1", "k1 k3 k5 k7", `{"rows":20,"keys":4,"more":false}`},
		{"newest/scan?collisions=1&end=k3", "k1 k1", `{"rows":2,"keys":1,"more":false}`},
		{"newest/scan?start=k2&end=k2", "", `{"rows":0,"keys":0,"more":false}`},
	} {
		for limit := 1; limit < 6; limit++ {
			got := pages(t, s, "/v1/folds/f/indexes/"+x.ask, limit)
			if strings.Join(got, " ") != x.keys {
				t.Errorf("%s in pages of %d: %s, not %s", x.ask, limit, got, x.keys)
			}
		}
		if x.count == "" {
			continue
		}
		path := "/v1/folds/f/indexes/" + strings.Replace(strings.Replace(x.ask, "scan", "count", 1), "keys_only=1", "", 1)
		if got, _ := ask(t, s, strings.Replace(path, "?&", "?", 1)); got != "200 "+x.count {
			t.Errorf("%s: %s, not %s", path, got, x.count)
		}
	}
	// A count that is cut is a lower bound, and says where it stopped: the key there is not counted again.
	for _, x := range []struct{ path, want string }{
		{"all/count?limit=3", `200 {"rows":3,"keys":2,"more":true,"next":{"after_key":"k2","after_source":"s01"}}`},
		{"all/count?limit=3&after_key=k2&after_source=s01", `200 {"rows":3,"keys":1,"more":true,"next":{"after_key":"k4","after_source":"s01"}}`},
		{"all/count?collisions=1&limit=1&after_key=k2&after_source=s01", `200 {"rows":1,"keys":0,"more":true,"next":{"after_key":"k2","after_source":"s02"}}`},
	} {
		if got, _ := ask(t, s, "/v1/folds/f/indexes/"+x.path); got != x.want {
			t.Errorf("%s\n got %s\nwant %s", x.path, got, x.want)
		}
	}
}

// pages returns the keys of what a path has, read in pages.
func pages(t *testing.T, s *httptest.Server, path string, limit int) (keys []string) {
	t.Helper()
	for next := ""; ; {
		got, _ := ask(t, s, fmt.Sprintf("%s&limit=%d%s", path, limit, next))
		var page struct {
			Rows []client.Row
			More bool
			Next struct {
				Key    client.Bytes `json:"after_key"`
				Source client.Bytes `json:"after_source"`
			}
		}
		check(t, json.Unmarshal([]byte(strings.TrimPrefix(got, "200 ")), &page))
		for _, row := range page.Rows {
			keys = append(keys, string(row.Key))
		}
		if !page.More {
			return keys
		}
		next = "&after_key=" + url.QueryEscape(string(page.Next.Key)) + "&after_source=" + url.QueryEscape(string(page.Next.Source))
	}
}
