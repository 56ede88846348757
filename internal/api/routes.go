package api

import (
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/atollhq/atoll/internal/api/auth"
)

// route is one line of the API. handle runs only after access agreed.
type route struct {
	method string
	path   string
	access access
	handle handler
}

// table is the whole API, authentication included. {app} is a name or an id.
func (a *API) table() []route {
	return []route{
		{"GET", "/healthz", anyone, a.health},

		// Sessions
		{"POST", "/v1/tokens", password, a.createToken},
		{"GET", "/v1/tokens", bearer, a.listTokens},
		{"POST", "/v1/tokens/exchange", apiToken, a.exchangeToken},
		{"GET", "/v1/users/self", bearer, a.self},
		{"GET", "/v1/regions", anyone, a.regions},
		{"GET", "/v1/keys", bearer, emptyList("keys")},
		{"GET", "/v1/scm_integrations", bearer, emptyList("scm_integrations")},

		// What there is to choose from
		{"GET", "/v1/features/stacks", bearer, a.listStacks},
		{"GET", "/v1/features/container_sizes", bearer, a.listSizes},
		{"GET", "/v1/addon_providers", bearer, emptyList("addon_providers")},
		{"GET", "/v1/notification_platforms", anyone, emptyList("notification_platforms")},
		{"GET", "/v1/event_types", bearer, emptyList("event_types")},
		{"GET", "/v1/databases", bearer, emptyList("databases")},

		// Projects
		{"GET", "/v1/projects", bearer, a.listProjects},
		{"POST", "/v1/projects", bearer, a.createProject},
		{"GET", "/v1/projects/{id}", bearer, a.showProject},
		{"PATCH", "/v1/projects/{id}", bearer, a.updateProject},
		{"DELETE", "/v1/projects/{id}", bearer, a.deleteProject},
		{"GET", "/v1/projects/{id}/private_network", bearer, a.showNetwork},

		// What only Atoll has, of a project's private network
		{"GET", "/v1/atoll/projects/{id}/policy", bearer, a.showPolicy},
		{"PUT", "/v1/atoll/projects/{id}/policy", bearer, a.setPolicyMode},
		{"POST", "/v1/atoll/projects/{id}/policy/rules", bearer, a.addRule},
		{"DELETE", "/v1/atoll/projects/{id}/policy/rules/{rule}", bearer, a.removeRule},
		{"GET", "/v1/atoll/projects/{id}/refusals", bearer, a.refusals},
		{"GET", "/v1/atoll/projects/{id}/flows", bearer, a.flows},
		{"GET", "/v1/atoll/projects/{id}/drops", bearer, a.drops},

		// Apps
		{"GET", "/v1/apps", bearer, a.listApps},
		{"POST", "/v1/apps", bearer, a.createApp},
		{"GET", "/v1/apps/{app}", bearer, a.showApp},
		{"PUT", "/v1/apps/{app}", bearer, a.updateApp},
		{"PATCH", "/v1/apps/{app}", bearer, a.patchApp},
		{"DELETE", "/v1/apps/{app}", bearer, a.destroyApp},
		{"POST", "/v1/apps/{app}/rename", bearer, a.renameApp},
		{"GET", "/v1/apps/{app}/private_network_domain_names", bearer, a.listDomainNames},
		{"GET", "/v1/apps/{app}/events", bearer, a.appEvents},
		{"GET", "/v1/events", bearer, a.userEvents},

		{"GET", "/v1/apps/{app}/variables", bearer, a.listVariables},
		{"POST", "/v1/apps/{app}/variables", bearer, a.createVariable},
		{"PUT", "/v1/apps/{app}/variables", bearer, a.setVariables},
		{"DELETE", "/v1/apps/{app}/variables/{id}", bearer, a.deleteVariable},

		// Containers
		{"GET", "/v1/apps/{app}/containers", bearer, a.listFormation},
		{"POST", "/v1/apps/{app}/scale", bearer, a.scale},
		{"POST", "/v1/apps/{app}/restart", bearer, a.restart},
		{"GET", "/v1/apps/{app}/ps", bearer, a.ps},
		{"GET", "/v1/apps/{app}/operations/{id}", bearer, a.showOperation},
		{"POST", "/v1/apps/{app}/containers/{id}/kill", bearer, a.kill},
		{"POST", "/v1/apps/{app}/containers/{id}/stop", bearer, a.stopOneOff},

		// One-offs. CONNECT on the second path is not the mux's, see connect.
		{"POST", "/v1/apps/{app}/run", bearer, a.runOneOff},
		{"GET", "/v1/apps/{app}/cron_tasks", bearer, a.cronTasks},
		{"PUT", attachPath + "{id}", attached, a.resizeOneOff},
		{"POST", attachPath + "{id}/files", attached, a.addFile},
		{"GET", attachPath + "{id}/wait", attached, a.waitOneOff},
		{"GET", "/v1/apps/{app}/autoscalers", bearer, a.emptyListOfApp("autoscalers")},

		// Deployments
		{"POST", "/v1/sources", bearer, a.createSource},
		{"PUT", "/v1/sources/{id}", link(auth.Upload), a.uploadSource},
		{"GET", "/v1/sources/{id}", link(auth.Download), a.downloadSource},
		{"GET", "/v1/apps/{app}/deployments", bearer, a.listDeployments},
		{"POST", "/v1/apps/{app}/deployments", bearer, a.createDeployment},
		{"GET", "/v1/apps/{app}/deployments/stream", firstFrame, a.streamDeployments},
		{"GET", "/v1/apps/{app}/deployments/{id}", bearer, a.showDeployment},
		{"GET", "/v1/apps/{app}/deployments/{id}/output", bearer, a.deploymentOutput},
		{"DELETE", "/v1/apps/{app}/caches/deployment", bearer, a.clearCache},

		// Logs
		{"GET", "/v1/apps/{app}/logs", bearer, a.logsURL},
		{"GET", "/v1/logs/{id}", link(auth.Logs), a.logs},
		{"GET", "/v1/apps/{app}/logs_archives", bearer, a.noArchives},

		// Diagnosis
		{"POST", "/v1/atoll/apps/{app}/diagnoses", bearer, a.diagnose},

		// What clients ask for although this server has none of it
		{"GET", "/v1/apps/{app}/domains", bearer, a.emptyListOfApp("domains")},
		{"GET", "/v1/apps/{app}/addons", bearer, a.emptyListOfApp("addons")},
		{"GET", "/v1/apps/{app}/collaborators", bearer, a.emptyListOfApp("collaborators")},
		{"GET", "/v1/apps/{app}/alerts", bearer, a.emptyListOfApp("alerts")},
		{"GET", "/v1/apps/{app}/log_drains", bearer, a.emptyListOfApp("drains")},
		{"GET", "/v1/apps/{app}/notifiers", bearer, a.emptyListOfApp("notifiers")},
		{"GET", "/v1/apps/{app}/scm_repo_link", bearer, a.noRepoLink},
		{"GET", "/v1/apps/{app}/scm_repo_link/review_apps", bearer, a.emptyListOfApp("review_apps")},
	}
}

// Private

// routes builds the mux. Methods are told apart here and not by the mux,
// whose 405 would not be JSON.
func (a *API) routes() *http.ServeMux {
	methods := map[string]map[string]route{}
	for _, r := range a.table() {
		if methods[r.path] == nil {
			methods[r.path] = map[string]route{}
		}
		if _, twice := methods[r.path][r.method]; twice {
			panic(fmt.Sprintf("route %s %s is in the table twice", r.method, r.path))
		}
		methods[r.path][r.method] = r
	}
	mux := http.NewServeMux()
	for path, byMethod := range methods {
		allowed := make([]string, 0, len(byMethod))
		for method := range byMethod {
			allowed = append(allowed, method)
		}
		sort.Strings(allowed)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			route, ok := byMethod[method]
			if !ok {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				a.fail(w, r, &httpError{status: http.StatusMethodNotAllowed,
					message: fmt.Sprintf("%s is not possible here; this path knows %s", r.Method, strings.Join(allowed, ", "))})
				return
			}
			a.run(route, w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, noSuchPath(r)) })
	return mux
}

func (a *API) run(route route, w http.ResponseWriter, r *http.Request) {
	q := &request{Request: r, api: a, w: w}
	err := route.access(q)
	if err == nil {
		var respond response
		if respond, err = route.handle(q); err == nil {
			respond(w, r)
			return
		}
	}
	a.fail(w, r, err)
}
