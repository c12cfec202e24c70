package source

import (
	"slices"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/foldrun/foldrun/store"
)

// anchorOf returns the anchor of a message. The leader says what it holds at a seq in JSON, where U+FFFD stands for each
// byte that is not UTF-8: so the subject's hash is of that form.
func anchorOf(seq uint64, time int64, subject []byte) store.Anchor {
	if !utf8.Valid(subject) {
		subject = []byte(string([]rune(string(subject))))
	}
	return store.Anchor{Seq: seq, Time: time, Subject: xxh3.Hash(subject)}
}

// AnchorOf returns the anchor of an update of a batch.
func AnchorOf(b *Batch, i int) store.Anchor {
	u := &b.Records[i]
	return anchorOf(u.Seq, u.Time, b.At(u.Subject))
}

// addAnchor puts a in front of list, newest first, and thins the list to store.MaxAnchors: it drops the one whose
// neighbours lie closest together for their age. So the anchors get exponentially rarer with age, the oldest stays,
// and the result depends on nothing but the anchors that were added.
func addAnchor(list []store.Anchor, a store.Anchor) []store.Anchor {
	list = slices.Insert(list, 0, a)
	if len(list) <= store.MaxAnchors {
		return list
	}
	drop, least := 1, 0.0
	for i := 1; i < len(list)-1; i++ {
		younger, older := a.Seq-list[i-1].Seq+1, a.Seq-list[i+1].Seq+1
		if spread := float64(older) / float64(younger); i == 1 || spread < least {
			drop, least = i, spread
		}
	}
	return slices.Delete(list, drop, drop+1)
}
