package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
)

// rowFlags are the flags of the verbs that read rows.
type rowFlags struct {
	readDoor
	asJSON, reverse          bool
	claimants, latest        bool
	asHex, asBase64, asTuple bool
	atLeast                  client.AtLeast
	incarnation              string
}

func (f *rowFlags) flags(c *cobra.Command) {
	f.readDoor.flags(c)
	f.waitFlags(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a row")
	c.Flags().BoolVar(&f.reverse, "reverse", false, "from the last row to the first")
	c.Flags().BoolVar(&f.claimants, "claimants", false, `every row of a key, though the index's collisions are "latest"`)
	c.Flags().BoolVar(&f.latest, "latest", false, `of each key the row whose source record is the newest, though the index's collisions are "all"`)
	f.formFlags(c)
}

// formFlags are those of how bytes are written.
func (f *rowFlags) formFlags(c *cobra.Command) {
	c.Flags().BoolVar(&f.asHex, "hex", false, "keys on the command line, and all that is printed, are hexadecimal")
	c.Flags().BoolVar(&f.asBase64, "base64", false, "keys on the command line are base64, of either alphabet, and all that is printed is")
	c.Flags().BoolVar(&f.asTuple, "tuple", false, `keys on the command line are tuples, as ("DE",42), and those that are so are printed so`)
}

// form returns how bytes are printed.
func (f *rowFlags) form() func(dst, b []byte) []byte {
	switch {
	case f.asHex:
		return hex.AppendEncode
	case f.asBase64:
		return base64.StdEncoding.AppendEncode
	}
	return appendField
}

// oneWay refuses two flags given together that would show a row, or choose it, in two ways.
func oneWay(c *cobra.Command) error {
	return errors.Join(exclusive(c, "claimants", "latest"), exclusive(c, "hex", "base64"), exclusive(c, "hex", "tuple"), exclusive(c, "base64", "tuple"))
}

// longestWait is what docs/http.md has as the most that a reader waits for a position.
const longestWait = 30 * time.Second

// waitFlags are those of a position that is demanded.
func (f *rowFlags) waitFlags(c *cobra.Command) {
	c.Flags().Uint64Var(&f.atLeast.Seq, "min-seq", 0, "only when the fold has folded this seq, which a put returned")
	c.Flags().DurationVar(&f.atLeast.Wait, "wait", 0, fmt.Sprintf("how long to wait for --min-seq, up to %v", longestWait))
	c.Flags().StringVar(&f.incarnation, "incarnation", "", "creation time of the stream that --min-seq is of")
}

// scope returns what the flags say of the rows to read.
func (f *rowFlags) scope() (client.Range, error) {
	r := client.Range{Reverse: f.reverse, Claimants: f.claimants, Latest: f.latest, Tuple: f.asTuple}
	if !f.given("min-seq") {
		for _, flag := range []string{"wait", "incarnation"} {
			if f.given(flag) {
				return r, hint.Error(misuse{fmt.Errorf("--%s is given without --min-seq", flag)}, "give the seq that the put returned")
			}
		}
		return r, nil
	}
	r.AtLeast = f.atLeast
	if f.atLeast.Seq == 0 {
		return r, hint.Error(misuse{errors.New("--min-seq is 0")}, "give the seq that the put returned: they begin at 1")
	}
	if f.atLeast.Wait < 0 || f.atLeast.Wait > longestWait {
		return r, hint.Error(misuse{fmt.Errorf("--wait is %v", f.atLeast.Wait)}, "write a duration up to %v, as 250ms", longestWait)
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

// begin returns what the flags say of the rows to read, as scope has it, and who is asked for them.
func (f *rowFlags) begin(c *cobra.Command, scope func() (client.Range, error)) (r client.Range, who *client.Client, err error) {
	if r, err = scope(); err == nil {
		who, err = f.open(c.Context(), c.ErrOrStderr())
	}
	return r, who, err
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
	case f.asTuple && s != "":
		var elements []abi.TupleElement
		elements, err = abi.ParseTuple(s)
		b = abi.Tuple{}.Append(elements...)
	default:
		b = []byte(s)
	}
	if err != nil {
		return nil, hint.Error(misuse{errors.New("key " + strconv.Quote(s) + ": " + err.Error())}, "leave --hex, --base64 and --tuple out to give the key as it is")
	}
	return b, nil
}

// row returns what FOLD/INDEX and a key on the command line name.
func (f *rowFlags) row(c *cobra.Command, name, text string) (fold, index string, key []byte, err error) {
	if fold, index, err = target(name); err != nil {
		return "", "", nil, err
	}
	if err = oneWay(c); err != nil {
		return "", "", nil, err
	}
	key, err = f.key(text)
	return fold, index, key, err
}

// rows returns what FOLD/INDEX and keys on the command line name.
func (f *rowFlags) rows(c *cobra.Command, name string, texts []string) (fold, index string, keys [][]byte, err error) {
	for _, text := range texts {
		var key []byte
		if fold, index, key, err = f.row(c, name, text); err != nil {
			return "", "", nil, err
		}
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			return "", "", nil, hint.Error(misuse{fmt.Errorf("key %q is given twice", key)}, "give each once")
		}
		keys = append(keys, key)
	}
	return fold, index, keys, nil
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
	form func(dst, b []byte) []byte
	keys bool // nothing else
	line []byte
}

func newRowPrinter(w io.Writer, f *rowFlags) *rowPrinter {
	p := &rowPrinter{w: bufio.NewWriter(w), form: f.form()}
	if f.asJSON {
		p.json = json.NewEncoder(p.w)
		p.json.SetEscapeHTML(false)
	}
	return p
}

func (p *rowPrinter) print(row client.Row) error {
	if p.json != nil {
		return p.json.Encode(row)
	}
	if row.Tuple != "" {
		p.line = append(p.line[:0], row.Tuple...)
	} else {
		p.line = p.form(p.line[:0], row.Key)
	}
	if !p.keys {
		p.line = p.form(append(p.line, '\t'), row.Source)
		p.line = p.form(append(p.line, '\t'), row.Value)
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
