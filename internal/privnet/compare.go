package privnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Difference is what keeps the kernel from holding exactly some endpoints.
type Difference struct {
	Strays  []string // Set would remove these: ids, or the interface's name where it had none
	Missing []string // Set would attach these; or would fail to, if their container is gone
	Damaged []string // Set would repair these, or make them anew
	Entries int      // table entries whose interface is gone
	Pieces  []Piece  // Set would restore these: the switch's own
}

// Empty says that Set would do nothing.
func (d Difference) Empty() bool {
	return len(d.Strays)+len(d.Missing)+len(d.Damaged)+len(d.Pieces)+d.Entries == 0
}

// Compare returns what Set would do with these endpoints and with the switch
// itself, and changes nothing.
// An endpoint that cannot be looked at does not keep the others from being: the
// error joins those of all of them, and they are in no list.
func (s *Switch) Compare(ctx context.Context, endpoints []Endpoint) (Difference, error) {
	var d Difference
	wanted, err := byHostName(endpoints)
	if err != nil {
		return d, fmt.Errorf("cannot compare the private networks: %w", err)
	}
	s.whole.Lock()
	defer s.whole.Unlock()
	found, err := s.flaws()
	failed := []error{err}
	for _, f := range found {
		d.Pieces = append(d.Pieces, f.pieces...)
	}
	links, err := s.hostEnds()
	if err != nil {
		return d, errors.Join(append(failed, err)...)
	}
	hosts := make(map[string]netlink.Link, len(links))
	for _, link := range links {
		hosts[link.Attrs().Name] = link
		if _, want := wanted[link.Attrs().Name]; !want {
			d.Strays = append(d.Strays, nameOf(link))
		}
	}
	for _, e := range endpoints {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		host, ok := hosts[hostName(e.ID)]
		if !ok {
			d.Missing = append(d.Missing, e.ID)
			continue
		}
		damaged, err := s.damaged(e, host)
		if err != nil {
			failed = append(failed, fmt.Errorf("cannot look at endpoint %s: %w", e.ID, err))
		} else if damaged {
			d.Damaged = append(d.Damaged, e.ID)
		}
	}
	ports, members, err := s.strayEntries(links)
	if err != nil {
		failed = append(failed, err)
	}
	d.Entries = len(ports) + len(members)
	return d, errors.Join(failed...)
}

// damaged tells whether anything about an endpoint is not as it should be.
func (s *Switch) damaged(e Endpoint, host netlink.Link) (bool, error) {
	c, err := openContainer(e.ContainerNetns)
	if err != nil {
		return false, err
	}
	defer c.close()
	joined, err := s.leadsInto(host, c)
	if err != nil || !joined || !s.describes(host, e) {
		return true, err
	}
	for _, p := range s.parts(e, host, c) {
		if wrong, err := p.wrong(); err != nil || wrong {
			return true, err
		}
	}
	return false, nil
}
