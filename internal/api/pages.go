package api

import "github.com/atollhq/atoll/internal/store"

// pagination is the "meta.pagination" of long lists. There is never less
// than one page; prev and next are null at the ends.
type pagination struct {
	CurrentPage int  `json:"current_page"`
	PrevPage    *int `json:"prev_page"`
	NextPage    *int `json:"next_page"`
	PerPage     int  `json:"per_page"`
	TotalPages  int  `json:"total_pages"`
	TotalCount  int  `json:"total_count"`
}

func paginate(p store.Page, total int) pagination {
	pages := max(1, (total+p.PerPage-1)/p.PerPage)
	m := pagination{CurrentPage: p.Number, PerPage: p.PerPage, TotalPages: pages, TotalCount: total}
	if prev := min(p.Number-1, pages); prev >= 1 {
		m.PrevPage = &prev
	}
	if next := p.Number + 1; next <= pages {
		m.NextPage = &next
	}
	return m
}

// paged is the root of a long list.
func paged(key string, list any, p store.Page, total int) object {
	return object{key: list, "meta": object{"pagination": paginate(p, total)}}
}

// part is the page of a list that is in memory.
func part[T any](list []T, p store.Page) []T {
	from := min((p.Number-1)*p.PerPage, len(list))
	return list[from:min(from+p.PerPage, len(list))]
}
