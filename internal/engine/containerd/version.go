package containerd

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/client"
)

// Version asks the containerd of this configuration for its version. It starts
// none: a private one that does not run is an error.
func (c Config) Version(ctx context.Context) (version, address string, err error) {
	address = c.Address
	if address == "" {
		address = c.daemon().Address()
	}
	cl, err := client.New(address)
	if err != nil {
		return "", address, fmt.Errorf("cannot use containerd at %s: %w", address, err)
	}
	v, err := cl.Version(ctx)
	if err = errors.Join(err, cl.Close()); err != nil {
		return "", address, fmt.Errorf("containerd at %s does not answer: %w", address, err)
	}
	return v.Version, address, nil
}
