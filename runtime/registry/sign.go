package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
)

// ErrUntrusted says that a module may not run, whatever it is.
var ErrUntrusted = errors.New("not trusted")

const (
	domain = "\xfffoldrun module 1\n" // what is signed begins so
	scheme = "foldrun-module-1"       // and its signature, as text, so
)

// Suffix is what the name of a module's file and that of its signature differ by.
const Suffix = ".sig"

// A Module is the bytes of a module and what they say of themselves.
type Module struct {
	Wasm      []byte
	Name      string // of its manifest, as Version
	Version   string
	SHA256    string // of Wasm, hexadecimal
	Signature string // as text, "" if there is none
}

// Read returns the module of some bytes. One without a manifest that can be read has no name: it is no module to sign.
func Read(wasm []byte) (Module, error) {
	sum := sha256.Sum256(wasm)
	m := Module{Wasm: wasm, SHA256: hex.EncodeToString(sum[:])}
	manifest, found, err := abi.ReadManifest(wasm)
	if err == nil && !found {
		err = hint.Error(fmt.Errorf("it has no %s section", abi.ManifestSection), "foldrun plugin build puts one into a module")
	}
	m.Name, m.Version = manifest.Name, manifest.Version
	return m, err
}

// signed returns the bytes that are signed.
func (m Module) signed() []byte {
	return []byte(domain + m.Name + "\n" + m.SHA256 + "\n" + m.Version)
}

// Sign signs a module with the seed of an nkey, and returns its public key.
func (m *Module) Sign(seed []byte) (public string, err error) {
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", badSeed(err)
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil {
		return "", badSeed(err)
	}
	sig, err := pair.Sign(m.signed())
	if err != nil {
		return "", badSeed(err)
	}
	m.Signature = scheme + " " + public + " " + base64.StdEncoding.EncodeToString(sig)
	return public, nil
}

// badSeed never shows the seed.
func badSeed(err error) error {
	return hint.Error(fmt.Errorf("it holds no seed of an nkey that signs: %w", err), "foldrun plugin key --new FILE makes one")
}

// NewKey makes an nkey: its seed, and the public key that goes into trusted_keys.
func NewKey() (seed []byte, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", err
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil {
		return nil, "", err
	}
	seed, err = pair.Seed()
	return slices.Clone(seed), public, err
}

// PublicKey returns the public key of a seed.
func PublicKey(seed []byte) (string, error) {
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", badSeed(err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// CheckKey says what is wrong with a public key.
func CheckKey(public string) error {
	if !nkeys.IsValidPublicKey(public) || nkeys.IsValidPublicCurveKey(public) {
		return hint.Error(fmt.Errorf("%q is no public nkey that signs", public), "foldrun plugin key FILE prints that of a seed: U and 55 more letters and digits")
	}
	return nil
}

// Signer returns the public key by which a module is signed; an error if the signature is not of these bytes.
func (m Module) Signer() (string, error) {
	words := strings.Fields(m.Signature)
	if len(words) != 3 || words[0] != scheme || CheckKey(words[1]) != nil {
		return "", untrusted("its signature has not the form %s PUBLICKEY BASE64", scheme)
	}
	pair, err := nkeys.FromPublicKey(words[1])
	if err != nil {
		return "", err
	}
	sig, err := base64.StdEncoding.DecodeString(words[2])
	if err == nil {
		err = pair.Verify(m.signed(), sig)
	}
	if err != nil {
		return "", untrusted("its signature by %s is of other bytes, or of another name or version", words[1])
	}
	return words[1], nil
}

// trustedBy says why a module may not run where every one must be signed by one of some keys.
func (m Module) trustedBy(keys []string) error {
	if m.Signature == "" {
		return hint.Error(untrusted("it is not signed, and trusted_keys is set"), "foldrun plugin sign, or plugin push --sign, with the seed of one of trusted_keys")
	}
	by, err := m.Signer()
	if err != nil {
		return hint.Error(err, "sign the module again as it is now; if nobody changed it who may: see who can write where it lies")
	}
	if !slices.Contains(keys, by) {
		return hint.Error(untrusted("it is signed by %s, which is none of trusted_keys", by), "add the key to trusted_keys, or sign the module with another")
	}
	return nil
}

func untrusted(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUntrusted, fmt.Sprintf(format, args...))
}
