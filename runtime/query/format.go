package query

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/foldrun/foldrun/abi"
)

// An Encoding says how bytes are written in JSON.
type Encoding string

// The encodings. That of Text is for bytes that are no text that of Base64.
const (
	Text   = Encoding("")       // a string if they are text, else as Base64
	Base64 = Encoding("base64") // {"base64": "…"}, padded, of the standard alphabet
	Hex    = Encoding("hex")    // {"hex": "…"}
)

// A Format says how rows are written in JSON.
type Format struct {
	Encoding Encoding
	JSON     bool // a value that is JSON is the field json, as it is, instead of the field value
	Tuple    bool // a key that is a tuple is also the field tuple, in the text form of abi.FormatTuple
}

func (e Encoding) append(dst, b []byte) []byte {
	switch e {
	case Base64:
		return appendBase64(dst, b)
	case Hex:
		return append(hex.AppendEncode(append(dst, `{"hex":"`...), b), `"}`...)
	}
	return appendBytes(dst, b)
}

func appendBase64(dst, b []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, `{"base64":"`...), b)
	return append(dst, `"}`...)
}

func (f *Format) appendKey(dst, key []byte) []byte {
	dst = f.Encoding.append(append(dst, `"key":`...), key)
	if f.Tuple {
		if t, err := abi.DecodeTuple(key); err == nil {
			dst = appendBytes(append(dst, `,"tuple":`...), []byte(abi.FormatTuple(t)))
		}
	}
	return dst
}

// appendValue appends a value: JSON on one line, if it is that and free of what appendBytes would not write as text.
func (f *Format) appendValue(dst, value []byte) []byte {
	if f.JSON && isText(value) && json.Valid(value) {
		line := bytes.NewBuffer(append(dst, `,"json":`...))
		if json.Compact(line, value) == nil {
			return line.Bytes()
		}
	}
	return f.Encoding.append(append(dst, `,"value":`...), value)
}
