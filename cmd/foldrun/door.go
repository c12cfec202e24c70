package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// defaultConfig is the configuration file of whoever names none.
const defaultConfig = "foldrun.toml"

// A door is how the read verbs reach an index: a running foldrun, or the data directory when none runs.
type door struct {
	url, config, dataDir string
	tokenFile, ca        string                 // of who answers at an address
	given                func(flag string) bool // on the command line
	mistake              string                 // the configuration file that was read for its data_dir alone
}

func (d *door) flags(c *cobra.Command) {
	d.given = c.Flags().Changed
	c.Flags().StringVar(&d.url, "url", "", "HTTP address of the foldrun to ask (default $FOLDRUN_URL, unless -c or --data-dir is given)")
	c.Flags().StringVarP(&d.config, "config", "c", "", "configuration file of the foldrun to ask (default "+defaultConfig+", if there is one)")
	c.Flags().StringVar(&d.dataDir, "data-dir", "", "data directory of the foldrun to ask, or to read when none runs")
	c.Flags().StringVar(&d.tokenFile, "token-file", "", "file with the token for that address (default $FOLDRUN_TOKEN, the token itself)")
	c.Flags().StringVar(&d.ca, "ca", "", "file of certificates to trust at an https address, PEM (default the system's)")
	c.MarkFlagFilename("config", "toml")
	c.MarkFlagDirname("data-dir")
}

// settled refuses two answers to one question, for --url asks a foldrun wherever its directory is, and an answer that is
// empty, as a variable that is not set gives it.
func (d *door) settled() error {
	for _, x := range []struct{ flag, name, value string }{{"url", "--url", d.url}, {"config", "-c", d.config}, {"data-dir", "--data-dir", d.dataDir},
		{"token-file", "--token-file", d.tokenFile}, {"ca", "--ca", d.ca}} {
		if x.value == "" && d.given(x.flag) {
			return hint.Error(misuse{fmt.Errorf("%s is empty", x.name)}, "say which foldrun to ask, or leave %s out", x.name)
		}
		if (x.flag == "config" || x.flag == "data-dir") && d.url != "" && x.value != "" {
			return hint.Error(misuse{fmt.Errorf("--url and %s exclude each other", x.name)}, "--url asks the foldrun that answers there; %s finds one", x.name)
		}
	}
	return nil
}

// clientOf returns a client of the foldrun at an address that a user gave.
func clientOf(address string) (*client.Client, error) {
	who := client.New(address)
	u, err := url.Parse(who.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, hint.Error(misuse{fmt.Errorf("%q is not the address of a foldrun", address)}, "write http://127.0.0.1:8480, in --url or $FOLDRUN_URL")
	}
	return who, nil
}

// client returns a client of the foldrun at an address, with the token and the certificates that are given.
func (d *door) client(address string) (*client.Client, error) {
	who, err := clientOf(address)
	if err != nil {
		return nil, err
	}
	if who.Token, err = d.token(); err != nil {
		return nil, err
	}
	who.HTTP, err = d.http()
	return who, err
}

// token returns what is to be shown at an address, "" for none.
func (d *door) token() (string, error) {
	if d.tokenFile == "" {
		return os.Getenv("FOLDRUN_TOKEN"), nil
	}
	token, err := config.Secret{File: d.tokenFile}.Read()
	if err == nil && strings.ContainsAny(token, " \t\n") {
		err = fmt.Errorf("%s holds more than a token", d.tokenFile)
	}
	return token, hint.Error(err, "--token-file is a file with the token that foldrun token new printed")
}

// http returns how an address is asked.
func (d *door) http() (*http.Client, error) {
	if d.ca == "" {
		return http.DefaultClient, nil
	}
	pem, err := os.ReadFile(d.ca)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(pem) {
		return nil, hint.Error(fmt.Errorf("%s holds no certificate", d.ca), "--ca is a file of PEM certificates")
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}

// address returns the address that is to be asked, "" where a directory says who.
func (d *door) address() string {
	if d.url == "" && d.config == "" && d.dataDir == "" {
		return os.Getenv("FOLDRUN_URL")
	}
	return d.url
}

// open finds who answers, in this order: --url; the directory of --data-dir or -c; $FOLDRUN_URL; that of foldrun.toml
// here; the default directory.
func (d *door) open(ctx context.Context, stderr io.Writer) (*client.Client, error) {
	if err := d.settled(); err != nil {
		return nil, err
	}
	if address := d.address(); address != "" {
		return d.client(address)
	}
	dir, configured, err := d.place()
	if err != nil {
		return nil, err
	}
	if d.mistake != "" {
		line(stderr, "note", d.mistake+" has a mistake, and says no more than which data directory is meant", "foldrun check -c "+d.mistake+" lists what is wrong")
	}
	return d.reach(ctx, dir, configured, stderr)
}

// configPath returns the configuration file that is given, or that of here, "" if there is none.
func (d *door) configPath() string {
	if d.config == "" && d.dataDir == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			return defaultConfig
		}
	}
	return d.config
}

// configuration reads the configuration file. One of which folds of included files are left out is good enough.
func (d *door) configuration() (*config.Config, error) {
	path := d.configPath()
	if path == "" {
		return nil, errors.New("there is none here")
	}
	c, err := config.Load(path)
	var problems *config.Problems
	if errors.As(err, &problems) && !problems.Fatal() {
		return c, nil
	}
	return c, err
}

// place returns the data directory, and the URL that the configuration gives its foldrun, "" if it gives none. A file with a
// mistake, of whatever kind, is good enough if it names the directory.
func (d *door) place() (dir, configured string, err error) {
	path := d.configPath()
	c := config.Default()
	if path != "" {
		var problems *config.Problems
		c, err = config.Load(path)
		broken := errors.As(err, &problems) && problems.Fatal()
		switch {
		case broken && d.dataDir == "" && !problems.Placed:
			return "", "", hint.Error(err, "mend it, or name the data directory of the foldrun that runs: --data-dir")
		case broken:
			d.mistake = path
		default:
			configured = urlOf(c.HTTP.Listen, c.HTTP.TLSCert != "")
		}
	}
	if d.dataDir != "" {
		c.DataDir = d.dataDir
	}
	if _, err := os.Stat(c.DataDir); path == "" && d.dataDir == "" && err != nil {
		return "", "", hint.Error(misuse{errors.New("it is not said which foldrun to ask")}, "give --url, -c or --data-dir")
	}
	dir, err = filepath.Abs(c.DataDir)
	return dir, configured, err
}

// settleWait is how long a foldrun that has the directory may take to note its address.
const settleWait = 5 * time.Second

// reach returns a client of the foldrun that runs on dir: through its socket, or where that is not for this user at its
// address. When none runs, it is one that reads dir.
func (d *door) reach(ctx context.Context, dir, configured string, stderr io.Writer) (*client.Client, error) {
	h, err := d.http()
	if err != nil {
		return nil, err
	}
	socket := throughSocket(dir)
	for deadline := time.Now().Add(settleWait); ; {
		if (address{url: socket.URL}).answers(ctx, socket.HTTP) {
			return socket, nil
		}
		noted, err := readAddress(dir)
		if err == nil && noted.answers(ctx, h) {
			return d.client(noted.url)
		}
		err = lockable(dir)
		switch {
		case err == nil:
			note(stderr, noted.url, dir)
			return &client.Client{URL: "http://localhost", HTTP: &http.Client{Transport: offline{dir}}}, nil
		case errors.Is(err, fs.ErrPermission) && (address{url: configured}).answers(ctx, h):
			return d.client(configured)
		case !errors.Is(err, store.ErrLocked):
			return nil, err
		case time.Now().After(deadline):
			return nil, hint.Error(fmt.Errorf("%w, and nothing answers at its address", err), "see its log; if it is still starting, ask again")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func note(stderr io.Writer, url, dir string) {
	if url == "" {
		line(stderr, "note", "no foldrun runs here, reading "+dir, "")
		return
	}
	line(stderr, "note", fmt.Sprintf("nothing answers at %s, reading %s", url, dir), "")
}

// lockable reports why a data directory cannot be read now.
func lockable(dir string) error {
	d, err := store.OpenDir(dir, store.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	return d.Close()
}
