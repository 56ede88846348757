package api

// regionJSON is where clients find the services of a region. The list must
// never be empty: clients crash on that.
type regionJSON struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	SSH         string `json:"ssh"`
	API         string `json:"api"`
	Dashboard   string `json:"dashboard"`
	DatabaseAPI string `json:"database_api"`
	Default     bool   `json:"default"`
}

// regions lists the one region there is: this server.
func (a *API) regions(q *request) (response, error) {
	return ok(object{"regions": []regionJSON{{
		Name: a.Region, DisplayName: a.DisplayName, SSH: a.SSH,
		API: q.base(), Dashboard: q.base(), DatabaseAPI: q.base(), Default: true,
	}}})
}
