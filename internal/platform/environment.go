package platform

import (
	"maps"
	"net/netip"
	"strconv"
)

// ContainerEnv returns the whole environment of container number n of w: the
// app's variables with the platform's over them (EV-3), and our additions
// prefixed ATOLL_. private is its address on pn0; when it is invalid the
// container is in no private network and the private variables are absent
// (EV-5).
func ContainerEnv(w Workload, n int, private netip.Addr) map[string]string {
	env := map[string]string{
		"PATH": "/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app/bin",
		"LANG": "C.UTF-8",
	}
	maps.Copy(env, w.Env)
	// A PORT variable of the app would tell private types to serve on a port
	// nobody routes to; the platform alone decides about it.
	delete(env, "PORT")
	maps.Copy(env, map[string]string{
		"HOME":                    "/app",
		"APP":                     w.AppName,
		"CONTAINER":               ContainerLabel(w.Type, n),
		"CONTAINER_VERSION":       w.Version,
		"CONTAINER_SIZE":          w.Size.Name,
		"CONTAINER_MEMORY":        strconv.FormatInt(w.Size.Memory, 10),
		"HOSTNAME":                Hostname(w.AppName, w.Type, n),
		"STACK":                   w.Stack,
		"REGION_NAME":             w.Region,
		"SCALINGO_APPLICATION_ID": w.AppID,
	})
	if IsPublic(w.Type) {
		env["PORT"] = strconv.Itoa(Port)
	}
	if private.IsValid() {
		env["SCALINGO_PRIVATE_NETWORK_ID"] = w.Network.ID
		env["SCALINGO_PRIVATE_HOSTNAME"] = PrivateName{Number: n, Type: w.Type, AppID: w.AppID, NetworkID: w.Network.ID}.String()
		env["ATOLL_PRIVATE_IP"] = private.String()
		env["ATOLL_PRIVATE_INTERFACE"] = PrivateInterface
	}
	return env
}

// Hostname is the container's host name, "<app>-<type>-<n>" (EV-3), cut from
// the left to the 63 bytes that the kernel and DNS allow.
func Hostname(app, processType string, n int) string {
	h := app + "-" + ContainerLabel(processType, n)
	if len(h) > 63 {
		h = h[len(h)-63:]
	}
	return h
}
