package api

import "github.com/atollhq/atoll/internal/platform"

// What this server does not have, but clients ask for on the way to
// something else: an empty list lets them go on.

// emptyList answers with an empty list below a root key.
func emptyList(root string) handler {
	return func(*request) (response, error) { return ok(object{root: []any{}}) }
}

// emptyListOfApp is emptyList for an app, which must exist.
func (a *API) emptyListOfApp(root string) handler {
	return func(q *request) (response, error) {
		if _, err := q.app(); err != nil {
			return nil, err
		}
		return ok(object{root: []any{}})
	}
}

func (a *API) noArchives(q *request) (response, error) {
	if _, err := q.app(); err != nil {
		return nil, err
	}
	return ok(object{"archives": []any{}, "has_more": false, "next_cursor": ""})
}

// noRepoLink: clients take a 404 for "not linked".
func (a *API) noRepoLink(q *request) (response, error) {
	if _, err := q.app(); err != nil {
		return nil, err
	}
	return nil, platform.NotFound("scm_repo_link", "the app is not linked to a repository")
}
