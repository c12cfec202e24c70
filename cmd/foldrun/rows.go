package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

// rowFlags are the flags of the verbs that read rows.
type rowFlags struct {
	door
	asJSON, reverse, claimants bool
	asHex, asBase64            bool
	atLeast                    client.AtLeast
	incarnation                string
}

func (f *rowFlags) flags(c *cobra.Command) {
	f.door.flags(c)
	f.waitFlags(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a row")
	c.Flags().BoolVar(&f.reverse, "reverse", false, "from the last row to the first")
	c.Flags().BoolVar(&f.claimants, "claimants", false, `every row of a key, though the index's collisions are "latest"`)
	c.Flags().BoolVar(&f.asHex, "key-hex", false, "keys on the command line are hexadecimal")
	c.Flags().BoolVar(&f.asBase64, "key-base64", false, "keys on the command line are base64, of either alphabet")
}

// waitFlags are those of a position that is demanded.
func (f *rowFlags) waitFlags(c *cobra.Command) {
	c.Flags().Uint64Var(&f.atLeast.Seq, "min-seq", 0, "only when the fold has folded this seq, which a put returned")
	c.Flags().DurationVar(&f.atLeast.Wait, "wait", 0, "how long to wait for --min-seq, up to 30s")
	c.Flags().StringVar(&f.incarnation, "incarnation", "", "creation time of the stream that --min-seq is of")
}

// scope returns what the flags say of the rows to read.
func (f *rowFlags) scope() (client.Range, error) {
	r := client.Range{Reverse: f.reverse, Claimants: f.claimants}
	if !f.given("min-seq") {
		for _, flag := range []string{"wait", "incarnation"} {
			if f.given(flag) {
				return r, hint.Error(misuse{fmt.Errorf("--%s is given without --min-seq", flag)}, "give the seq that the put returned")
			}
		}
		return r, nil
	}
	r.AtLeast = f.atLeast
	if f.atLeast.Seq == 0 || f.atLeast.Wait < 0 {
		return r, hint.Error(misuse{errors.New("--min-seq is 0, or --wait is negative")}, "give the seq that the put returned, and how long to wait for it")
	}
	if f.incarnation != "" {
		at, err := time.Parse(time.RFC3339Nano, f.incarnation)
		if err != nil {
			return r, hint.Error(misuse{fmt.Errorf("--incarnation %q is not a time", f.incarnation)}, "write the creation time as foldrun status --json and nats stream info --json have it")
		}
		r.AtLeast.Incarnation = at
	}
	return r, nil
}

// exclusive refuses two flags given together.
func exclusive(c *cobra.Command, one, other string) error {
	if c.Flags().Changed(one) && c.Flags().Changed(other) {
		return hint.Error(misuse{fmt.Errorf("--%s and --%s exclude each other", one, other)}, "give one of them")
	}
	return nil
}

// key returns the bytes that a key on the command line stands for.
func (f *rowFlags) key(s string) (b []byte, err error) {
	switch {
	case f.asHex:
		b, err = hex.DecodeString(s)
	case f.asBase64:
		s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
		b, err = base64.RawURLEncoding.DecodeString(s)
	default:
		b = []byte(s)
	}
	if err != nil {
		return nil, hint.Error(misuse{errors.New("key " + strconv.Quote(s) + ": " + err.Error())}, "leave --key-hex and --key-base64 out to give the key as it is")
	}
	return b, nil
}

// row returns what FOLD/INDEX and a key on the command line name.
func (f *rowFlags) row(c *cobra.Command, name, text string) (fold, index string, key []byte, err error) {
	if fold, index, err = target(name); err != nil {
		return "", "", nil, err
	}
	if err = exclusive(c, "key-hex", "key-base64"); err != nil {
		return "", "", nil, err
	}
	key, err = f.key(text)
	return fold, index, key, err
}

// target splits FOLD/INDEX.
func target(s string) (fold, index string, err error) {
	fold, index, ok := strings.Cut(s, "/")
	if !ok || fold == "" || index == "" {
		return "", "", hint.Error(misuse{errors.New(strconv.Quote(s) + " is not FOLD/INDEX")}, "foldrun status lists the folds with their indexes")
	}
	return fold, index, nil
}

// rowPrinter prints rows: as KEY, SOURCE and VALUE between tabs, a line each, or as JSON.
type rowPrinter struct {
	w    *bufio.Writer
	json *json.Encoder // nil for text
	line []byte
}

func newRowPrinter(w io.Writer, asJSON bool) *rowPrinter {
	p := &rowPrinter{w: bufio.NewWriter(w)}
	if asJSON {
		p.json = json.NewEncoder(p.w)
		p.json.SetEscapeHTML(false)
	}
	return p
}

func (p *rowPrinter) print(row client.Row) error {
	if p.json != nil {
		return p.json.Encode(row)
	}
	p.line = p.line[:0]
	for i, b := range [][]byte{row.Key, row.Source, row.Value} {
		if i > 0 {
			p.line = append(p.line, '\t')
		}
		p.line = appendField(p.line, b)
	}
	_, err := p.w.Write(append(p.line, '\n'))
	return err
}

// noteState says on stderr that the rows of a reply are not those of a fold that follows its source, and how far they
// are. A fold without a store has told that by its error.
func noteState(stderr io.Writer, fold string, at client.Position) {
	if at.Seq == 0 && at.Generation == "" || at.State == "following" || at.State == "" {
		return
	}
	why := ""
	if at.Code != "" {
		why = ": " + at.Code
	}
	mend := ""
	if at.Code != "" {
		mend = "foldrun status says why, and what to do"
	}
	line(stderr, "note", fmt.Sprintf("fold %s is %s%s; the rows are as of seq %d", fold, at.State, why, at.Seq), mend)
}

// appendField appends bytes as they are if they can be printed, else as a Go string. What starts with a quotation mark
// is quoted too, so that each line reads in one way.
func appendField(dst, b []byte) []byte {
	if !utf8.Valid(b) || len(b) > 0 && b[0] == '"' {
		return strconv.AppendQuote(dst, string(b))
	}
	for _, r := range string(b) {
		if !strconv.IsPrint(r) {
			return strconv.AppendQuote(dst, string(b))
		}
	}
	return append(dst, b...)
}
