package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// serve is a well-behaved server: at SIGTERM it takes no new connections,
// finishes the requests it has, and ends.
func serve(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, os.Getenv("CONTAINER")+"\n") //nolint:errcheck // the client notices
	})
	return listen(addr, mux)
}

// listen serves until SIGTERM.
func listen(addr string, handler http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: addr, Handler: handler}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ended <- srv.Shutdown(context.Background())
	}()
	fmt.Println("listens on", addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}
