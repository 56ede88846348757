package client

import (
	"net/url"
	"strconv"
)

// Pagination is where a page stands among its siblings. Prev and Next are 0
// where there is none.
type Pagination struct {
	Page       int `json:"current_page"`
	Prev       int `json:"prev_page"`
	Next       int `json:"next_page"`
	TotalPages int `json:"total_pages"`
	TotalCount int `json:"total_count"`
}

// Page asks for a part of a long list; zero values leave the choice to the
// server. Pages count from 1.
type Page struct {
	Number int
	Size   int
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Number > 0 {
		q.Set("page", strconv.Itoa(p.Number))
	}
	if p.Size > 0 {
		q.Set("per_page", strconv.Itoa(p.Size))
	}
	return q
}

// paged is the part of an answer that tells of pages.
type paged struct {
	Meta struct {
		Pagination Pagination `json:"pagination"`
	} `json:"meta"`
}
