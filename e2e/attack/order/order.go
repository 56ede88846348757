// Package order is what the attack suite and its attack program say to each
// other: one order as JSON on a connection of a Unix socket, one outcome back.
//
// It imports nothing of ours. It only describes; the program in
// e2e/attack/attacker does, and e2e/attack judges.
package order

import "time"

// Order is one attack, or one part of it. Exactly one field is set.
type Order struct {
	Raw       *Raw       `json:"raw,omitempty"`
	Packet    *Packet    `json:"packet,omitempty"`
	Configure *Configure `json:"configure,omitempty"`
	Connect   *Connect   `json:"connect,omitempty"`
	Datagram  *Datagram  `json:"datagram,omitempty"`
	Ask       *Ask       `json:"ask,omitempty"`
	Unix      *Unix      `json:"unix,omitempty"`
	Unshare   *Unshare   `json:"unshare,omitempty"`
	Flood     *Flood     `json:"flood,omitempty"`
	Load      *Load      `json:"load,omitempty"`
	Heard     *Heard     `json:"heard,omitempty"`
}

// Outcome is what came of an order.
type Outcome struct {
	// Error is the name of the error number that ended the order ("EPERM"), or
	// the error's text when it has none; empty when the order was carried out.
	Error string `json:"error,omitempty"`
	// Sent is how many frames, packets or questions were sent.
	Sent int `json:"sent"`
	// Results are those of each target, by target: "connected", an answer's
	// text after "answer: ", or an error's name.
	Results map[string]string `json:"results,omitempty"`
	// Answers are those of Ask, in the order of the questions.
	Answers []Answer `json:"answers,omitempty"`
	// Exchanges are what Load measured.
	Exchanges Exchanges `json:"exchanges,omitzero"`
	// Heard is how often each text arrived at the program's own listeners.
	Heard map[string]int `json:"heard,omitempty"`
}

// Raw sends frames as they are, through a packet socket.
type Raw struct {
	Link   string   `json:"link"`
	Frames [][]byte `json:"frames"`
	// Times is how often all of them are sent, one after the other; with For,
	// that again and again until it is over.
	Times int           `json:"times"`
	For   time.Duration `json:"for"`
}

// Packet sends IPv4 packets whose headers the sender wrote, through the
// kernel's routes.
type Packet struct {
	Packets [][]byte `json:"packets"`
	Times   int      `json:"times"`
}

// Configure runs an `ip` of the program's own: "addr add 10.0.0.1/32 dev pn0",
// "route add 10.0.0.0/8 via 172.17.0.1 dev eth0", "link set eth0 address MAC",
// "neigh add 172.17.0.5 lladdr MAC dev eth0"; the verb may also be "del".
type Configure struct {
	Lines []string `json:"lines"`
}

// Connect opens TCP connections, says Text on each, and waits for an answer.
type Connect struct {
	Targets []string `json:"targets"` // "address:port"
	From    string   `json:"from"`    // source address, empty for any
	Text    string   `json:"text"`
	// Wait is how long each connection may take.
	Wait time.Duration `json:"wait"`
}

// Datagram sends Head and Text to each target by UDP and waits for an answer.
type Datagram struct {
	Targets []string `json:"targets"`
	From    string   `json:"from"` // source address, empty for any
	Port    int      `json:"port"` // source port, 0 for any
	Link    string   `json:"link"` // by this interface, empty for any
	Head    []byte   `json:"head"`
	Text    string   `json:"text"`
	Times   int      `json:"times"`
	// Options are IP options, such as a source route.
	Options []byte        `json:"options"`
	Wait    time.Duration `json:"wait"`
}

// Ask asks a DNS server.
type Ask struct {
	Server    string     `json:"server"` // "address:port"
	TCP       bool       `json:"tcp"`
	Questions []Question `json:"questions"`
}

// Question is one of DNS; AXFR and IXFR are types like others.
type Question struct {
	Name  string `json:"name"`
	Type  string `json:"type"`  // "A", "PTR", "AXFR", …
	Class string `json:"class"` // "IN" or "CH"
}

// Answer is what a DNS server said.
type Answer struct {
	Rcode   string   `json:"rcode"` // "NOERROR", "NXDOMAIN", …; empty without an answer
	Records []string `json:"records"`
	// Beside are those of the authority and the additional section.
	Beside []string `json:"beside"`
	Error  string   `json:"error"`
}

// Unix connects to Unix sockets by their paths, and to all abstract ones.
type Unix struct {
	Paths []string `json:"paths"`
}

// Unshare tries for a user namespace, where it would have every capability
// over a network namespace of its own.
type Unshare struct{}

// Flood does one thing as often as it can.
type Flood struct {
	Kind FloodKind `json:"kind"`
	// Target is "address:port", or a network for Neighbours.
	Target string        `json:"target"`
	For    time.Duration `json:"for"`
}

// FloodKind is what is flooded.
type FloodKind string

const (
	// Spin sends nothing: it takes as much of the CPU as a flood does, and is
	// what floods are compared with.
	Spin FloodKind = "spin"
	// Flows sends datagrams to ever other ports and addresses near the target:
	// each is a new connection for those who track.
	Flows FloodKind = "flows"
	// Connections opens TCP connections to the target and keeps them.
	Connections FloodKind = "connections"
	// Neighbours sends datagrams to every address of the target, a network: the
	// kernel asks for the MAC of each that is on a link, and remembers it.
	Neighbours FloodKind = "neighbours"
	// Questions asks the DNS server at the target for random names outside.
	Questions FloodKind = "questions"
	// PrivateQuestions asks it for random names of private networks.
	PrivateQuestions FloodKind = "private questions"
	// StreamQuestions asks it for names of private networks by TCP, one
	// question behind the other on as many connections as it takes.
	StreamQuestions FloodKind = "questions by TCP"
)

// Load makes one exchange after the other and measures each.
type Load struct {
	Kind LoadKind `json:"kind"`
	// Target is "address:port".
	Target string `json:"target"`
	// Name is what Resolve asks for; it must have one address.
	Name  string        `json:"name"`
	Every time.Duration `json:"every"`
	For   time.Duration `json:"for"`
}

// LoadKind is what an exchange is.
type LoadKind string

const (
	// Echo is a new TCP connection with a line there and back.
	Echo LoadKind = "echo"
	// Fetch is a new TCP connection with an HTTP request.
	Fetch LoadKind = "fetch"
	// Resolve is a DNS question for the Load's Name over UDP.
	Resolve LoadKind = "resolve"
)

// Exchanges is what a Load measured.
type Exchanges struct {
	Count         int           `json:"count"`
	Failed        int           `json:"failed"`
	Failure       string        `json:"failure"` // of the first that failed
	P50, P95, P99 time.Duration `json:",omitzero"`
}

// Heard asks what arrived at the program's listeners since the last asking.
type Heard struct{}
