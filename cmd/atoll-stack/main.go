// Command atoll-stack turns two root file system tars into the stack's OCI
// image layout: the run image is the base layer, the build image the base
// layer with the tools layer on top, so that both share the base.
//
// It is called by stack/build-stack.sh, which makes the tars; it imports
// nothing of ours, needs no root, and speaks to nobody.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var s spec
	var epoch int64
	flag.StringVar(&s.Base, "base", "", "tar of the run image's root file system")
	flag.StringVar(&s.Tools, "tools", "", "tar of the overlay upper directory of the build image")
	flag.StringVar(&s.Stack, "stack", "atoll-12", "name of the stack")
	flag.StringVar(&s.Inputs, "inputs", "", "hash of what the stack is made from, kept in the layout")
	flag.StringVar(&s.Out, "out", "", "layout directory to write; replaced as a whole when it exists")
	flag.Int64Var(&epoch, "epoch", 0, "newest time stamp in the layers, seconds since 1970")
	flag.Parse()
	s.Epoch = time.Unix(epoch, 0).UTC()

	if s.Base == "" || s.Tools == "" || s.Out == "" || s.Inputs == "" || epoch <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "atoll-stack: -base, -tools, -inputs, -epoch and -out are needed; stack/build-stack.sh calls it rightly")
		os.Exit(2)
	}
	if err := s.write(); err != nil {
		fmt.Fprintf(os.Stderr, "atoll-stack: %v\n", err)
		os.Exit(1)
	}
}
