package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/registry"
)

func pluginKeyCommand() *cobra.Command {
	var fresh bool
	c := &cobra.Command{
		Use:   "key SEED_FILE",
		Short: "Print the public key of an nkey that signs modules, or make one",
		Long: `Print the public key of the seed in a file: it goes into trusted_keys. With --new the seed is made, in a file that is not
there yet and that only this user may read.

Use a key for modules alone, and keep its seed where modules are built, away from where they run.`,
		Example: "  foldrun plugin key --new modules.nk\n  foldrun plugin key modules.nk",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			public, err := keyOf(args[0], fresh)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), public)
			return err
		},
	}
	c.Flags().BoolVar(&fresh, "new", false, "make the seed")
	return c
}

func keyOf(path string, fresh bool) (string, error) {
	if fresh {
		return newKey(path)
	}
	seed, err := readSeed(path)
	if err != nil {
		return "", err
	}
	public, err := registry.PublicKey(seed)
	return public, ofSeed(path, err)
}

func newKey(path string) (string, error) {
	seed, public, err := registry.NewKey()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", hint.Error(err, "name a file that is not there yet, in a directory that this user may write to")
	}
	_, err = f.Write(append(seed, '\n'))
	return public, errors.Join(err, f.Sync(), f.Close())
}

// readSeed reads the file of a seed, as much as one can be.
func readSeed(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<10))
}

func ofSeed(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

func pluginSignCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "sign FILE.wasm --key SEED_FILE",
		Short: "Sign a module, for folds with trusted_keys",
		Long: `Write the signature of a module to FILE.wasm.sig: of its bytes, and of the name and the version in its manifest. Ship both
files. A module that is built again is to be signed again.`,
		Example: "  foldrun plugin sign users.wasm --key modules.nk",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" {
				return hint.Error(misuse{errors.New("--key is missing")}, "name the file of an nkey's seed; foldrun plugin key --new FILE makes one")
			}
			m, err := readToSign(args[0])
			if err != nil {
				return err
			}
			by, err := signWith(&m, key)
			if err != nil {
				return err
			}
			if err := replaceFile(args[0]+registry.Suffix, []byte(m.Signature+"\n")); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s %s, sha256 %s, signed by %s\n", args[0]+registry.Suffix, m.Name, orDash(m.Version), m.SHA256, by)
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "file with the seed of an nkey")
	c.MarkFlagFilename("key")
	return c
}

// readToSign reads a module with a manifest, and the signature that it may have.
func readToSign(path string) (m registry.Module, err error) {
	if m, err = registry.Open(path); err != nil {
		return m, err
	}
	if _, err := registry.Read(m.Wasm); err != nil {
		return m, hint.Error(fmt.Errorf("%s: %w", path, err), "%s", mendOf(err))
	}
	return m, nil
}

func signWith(m *registry.Module, key string) (string, error) {
	seed, err := readSeed(key)
	if err != nil {
		return "", err
	}
	by, err := m.Sign(seed)
	return by, ofSeed(key, err)
}
