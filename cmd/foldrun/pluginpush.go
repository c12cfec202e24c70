package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/registry"
)

func pluginPushCommand() *cobra.Command {
	var n natsFlags
	var key string
	var create bool
	c := &cobra.Command{
		Use:   "push FILE.wasm BUCKET/NAME",
		Short: "Put a module into a NATS object store, for module.object of folds",
		Long: `Put a module into a NATS object store, with its name and its version. Folds with module.object = "BUCKET/NAME" take it: those
that pin it by module.sha256 when it is the one, those with trusted_keys at once, while they run, if it is signed and its
version is not lower than that of the module which they have.

With --sign the module is signed first. Without it, the signature beside the file goes along, if there is one.`,
		Example: "  foldrun plugin push users.wasm modules/users --sign modules.nk\n  foldrun plugin push users.wasm modules/users --server nats://hub:4222 --creds push.creds",
		Args:    arguments(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if bucket, name, _ := strings.Cut(args[1], "/"); bucket == "" || name == "" {
				return hint.Error(misuse{fmt.Errorf("%q names no object", args[1])}, "write BUCKET/NAME")
			}
			m, by, err := moduleToPush(c.Context(), args[0], key)
			if err != nil {
				return err
			}
			conn, domain, err := n.connect("")
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := (registry.Objects{Conn: conn, Domain: domain}).Push(c.Context(), args[1], m, create); err != nil {
				return fmt.Errorf("push to %s: %w", args[1], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s %s, %d bytes, sha256 %s, %s\n", args[1], m.Name, orDash(m.Version), len(m.Wasm), m.SHA256, by)
			return err
		},
	}
	n.flags(c, "")
	c.Flags().StringVar(&n.Domain, "js-domain", "", "JetStream domain")
	c.Flags().StringVar(&key, "sign", "", "file with the seed of an nkey, to sign the module with")
	c.Flags().BoolVar(&create, "create", false, "make the object store if there is none, with one replica")
	c.MarkFlagFilename("sign")
	return c
}

// moduleToPush reads a module that foldrun would run, and says by whom it is signed.
func moduleToPush(ctx context.Context, path, key string) (m registry.Module, by string, err error) {
	if m, err = readToSign(path); err != nil {
		return m, "", err
	}
	if err := inspectModule(ctx, path, m.Wasm).err; err != nil {
		return m, "", err
	}
	switch {
	case key != "":
		by, err = signWith(&m, key)
	case m.Signature == "":
		return m, "not signed", nil
	default:
		if by, err = m.Signer(); err != nil {
			err = hint.Error(fmt.Errorf("%s: %w", path+registry.Suffix, err), "sign the module again: foldrun plugin sign, or --sign")
		}
	}
	return m, "signed by " + by, err
}
