package runtime

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more parallel tests at once than there are processors: they wait most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}
