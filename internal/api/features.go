package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// stackJSON is a stack. DeprecatedAt is null or a day, "2006-01-02"; clients
// cannot read a full date there.
type stackJSON struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Description  string     `json:"description"`
	BaseImage    string     `json:"base_image"`
	Default      bool       `json:"default"`
	CreatedAt    *time.Time `json:"created_at"`
	DeprecatedAt *string    `json:"deprecated_at"`
}

// sizeJSON is a container size. Nothing costs anything here; the prices are
// there for clients that read them.
type sizeJSON struct {
	ID              string         `json:"id"`
	SKU             string         `json:"sku"`
	Name            string         `json:"name"`
	HumanName       string         `json:"human_name"`
	HumanCPU        string         `json:"human_cpu"`
	Memory          int64          `json:"memory"`
	Swap            int64          `json:"swap"`
	PIDsLimit       int64          `json:"pids_limit"`
	Ordinal         int            `json:"ordinal"`
	HourlyPrice     int            `json:"hourly_price"`
	ThirtydaysPrice int            `json:"thirtydays_price"`
	Pricings        map[string]any `json:"pricings"`
}

func (a *API) listStacks(q *request) (response, error) {
	stacks, err := a.Store.Stacks(q.Context())
	if err != nil {
		return nil, err
	}
	list := make([]stackJSON, 0, len(stacks))
	for _, s := range stacks {
		list = append(list, stackJSON{ID: s.ID, Name: s.Name, Description: s.Description, BaseImage: s.BaseImage,
			Default: s.Default, CreatedAt: date(s.CreatedAt)})
	}
	return ok(object{"stacks": list})
}

func (a *API) listSizes(*request) (response, error) {
	list := make([]sizeJSON, 0, len(platform.Sizes))
	for _, s := range platform.Sizes {
		list = append(list, showSize(s.Name))
	}
	return ok(object{"container_sizes": list})
}

// Private

func showSize(name string) sizeJSON {
	at := slices.IndexFunc(platform.Sizes, func(s platform.Size) bool { return s.Name == name })
	if at < 0 { // a container from before the table changed
		return sizeJSON{ID: name, Name: name, HumanName: name, Pricings: map[string]any{}}
	}
	s := platform.Sizes[at]
	return sizeJSON{
		ID: s.Name, SKU: "atoll-" + strings.ToLower(s.Name), Name: s.Name,
		HumanName: fmt.Sprintf("%s (%d MB)", s.Name, s.Memory>>20), HumanCPU: s.Priority + " priority",
		Memory: s.Memory, PIDsLimit: s.PIDs, Ordinal: at + 1, Pricings: map[string]any{},
	}
}
