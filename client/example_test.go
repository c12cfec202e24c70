package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/foldrun/foldrun/client"
)

// The reader of an index of users by their e-mail address.
func Example() {
	ctx := context.Background()
	c := client.New(address)

	page, err := c.Get(ctx, "users", "by_email", []byte("ann@example.com"), client.Range{})
	if errors.Is(err, client.ErrNotFound) {
		log.Fatal("nobody has that address")
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range page.Rows {
		fmt.Printf("%s has %s, as of seq %d\n", row.Value, row.Key, page.At.Seq)
	}

	for row, err := range c.Scan(ctx, "users", "by_email", client.Range{Prefix: []byte("b")}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\t%s\n", row.Key, row.Value)
	}
	// Output:
	// Ann has ann@example.com, as of seq 7
	// ben@example.com	Ben
	// bob@example.com	Bob
}

// address is where the example's foldrun answers: these replies are as runtime/serve writes them.
var address = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Foldrun-Seq", "7")
	w.Header().Set("Foldrun-Generation", "0123456789abcdef")
	w.Header().Set("Foldrun-Incarnation", "2023-11-14T22:13:20.123456789Z")
	switch r.URL.RequestURI() {
	case "/v1/folds/users/indexes/by_email/get?key=ann%40example.com":
		fmt.Fprint(w, `{"rows":[{"key":"ann@example.com","value":"Ann","source":"u1"}],"more":false}`)
	case "/v1/folds/users/indexes/by_email/scan?limit=1000&prefix=b":
		fmt.Fprint(w, `{"rows":[{"key":"ben@example.com","value":"Ben","source":"u3"}],"more":true,"next":{"after_key":"ben@example.com","after_source":"u3"}}`)
	case "/v1/folds/users/indexes/by_email/scan?after_key=ben%40example.com&after_source=u3&limit=1000&prefix=b":
		fmt.Fprint(w, `{"rows":[{"key":"bob@example.com","value":"Bob","source":"u2"}],"more":false}`)
	default:
		http.NotFound(w, r)
	}
})).URL
