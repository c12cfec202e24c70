package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
)

// commands are the verbs, in the order of the help.
var commands = []func() *cobra.Command{
	demoCommand,
	runCommand,
	checkCommand,
	statusCommand,
	generationsCommand,
	getCommand,
	scanCommand,
	whyCommand,
	verifyCommand,
	quarantineCommand,
	reloadCommand,
	rebuildCommand,
	planCommand,
	diffCommand,
	applyCommand,
	rollbackCommand,
	pauseCommand,
	resumeCommand,
	tokenCommand,
	pluginCommand,
	benchCommand,
	versionCommand,
}

func init() { cobra.EnableCommandSorting = false }

// The exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitMisused   = 2
	exitDifferent = 3
)

// Errors of which everything is said already.
var (
	errFailed    = errors.New("failed")
	errDifferent = errors.New("differences found")
)

// misuse is an error of the command line itself.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// run runs a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, done := context.WithCancel(ctx)
	defer done()
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDifferent):
		return exitDifferent
	case errors.Is(err, errFailed):
		return exitFailed
	}
	tell(stderr, err)
	if errors.As(err, new(misuse)) {
		return exitMisused
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "foldrun",
		Short: "Derived indexes for NATS JetStream, programmed in wasm",
		Long: `Foldrun follows NATS streams and KV buckets, puts each update through a wasm module of yours, and keeps
what that yields in indexes on disk, which it answers queries from.`,
		Version:       readBuild().String(),
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return noCommand(c, args[0])
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	for _, command := range commands {
		root.AddCommand(command())
	}
	root.SetHelpCommand(helpCommand())
	return root
}

// helpCommand is cobra's, which takes whatever it does not know for the whole.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say what a command does",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noCommand(c.Root(), strings.Join(args, " "))
			}
			return about.Help()
		},
	}
}

func noCommand(root *cobra.Command, name string) error {
	err := misuse{fmt.Errorf("there is no command %q", name)}
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return hint.Error(err, "the nearest is %q", near[0])
	}
	return hint.Error(err, "foldrun --help lists the commands")
}

// arguments makes a check of the arguments' number a misuse, with the usage as its hint.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return hint.Error(misuse{err}, "usage: %s", c.UseLine())
		}
		return nil
	}
}

// tell prints an error and what to do about it.
func tell(w io.Writer, err error) {
	var problems *config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems.All {
			line(w, "error", p.String(), p.Hint)
		}
		mend(w, hint.Of(err))
		return
	}
	var refused *client.Error
	if errors.As(err, &refused) {
		line(w, "error", refused.Message, refused.Hint)
		return
	}
	line(w, "error", err.Error(), mendOf(err))
}

// mendOf returns an error's hint. Of what the system says to every command alike, the hint is here.
func mendOf(err error) string {
	var dial *net.OpError
	switch mend := hint.Of(err); {
	case mend != "":
		return mend
	case errors.As(err, &dial) && dial.Op == "dial":
		return "start foldrun, or ask where it answers: [http] listen of its configuration; --data-dir or -c reads what it left when none runs"
	case errors.Is(err, client.ErrNoReply):
		return "foldrun has ended meanwhile, or was killed: its log says why. Start it, and look with foldrun status at what was done"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "foldrun speaks no TLS there: write http:// in the address"
	case errors.Is(err, client.ErrChanged):
		return "ask again; over NATS, --instance keeps to one replica: each has generations of its own"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "give --ca the certificates that foldrun's is signed with, and --url a name that it is for"
	case errors.As(err, new(*fs.PathError)):
		return "see that the path is right, and that this user may use it"
	}
	return ""
}

// line prints one error, warning or note, each of its lines marked, and its hint.
func line(w io.Writer, kind, text, hint string) {
	for one := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(w, "foldrun: %s: %s\n", kind, one)
	}
	mend(w, hint)
}

// mend prints a hint, if there is one.
func mend(w io.Writer, hint string) {
	if hint != "" {
		fmt.Fprintf(w, "foldrun: hint: %s\n", hint)
	}
}

// counted is "1 fold" or "2 folds".
func counted[T int | uint64](n T, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
