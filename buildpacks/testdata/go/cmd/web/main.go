// A sample app for the tests of the Go buildpack.
package main

import (
	"fmt"
	"net/http"
	"os"
)

var mark = "unset"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello from Go,", mark) })
	if err := http.ListenAndServe(":"+os.Getenv("PORT"), nil); err != nil {
		panic(err)
	}
}
