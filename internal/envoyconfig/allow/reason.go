package allow

// Author is who wrote an object, and what that lets it reach.
type Author int

// Authors, each of whom may do what those before may.
const (
	// Tenant may write objects in a namespace.
	Tenant Author = iota
	// Administrator may write objects for the whole cluster.
	Administrator
	// Trusted is an Administrator, where allowUnsafe is set.
	Trusted
	nobody
)

// Reason is why something is refused, a word.
type Reason string

// reasons say for each Reason why, and who may do it nevertheless.
var reasons = map[Reason]struct {
	text string
	may  Author
}{
	"address":     {"leads Envoy to addresses that are not those of a Service", Administrator},
	"backend":     {"lets backends tell Envoy where to connect", Administrator},
	"bind":        {"the node decides how Envoy's sockets are bound: the data path tells by that who speaks", nobody},
	"bootstrap":   {"is for Envoy's start", nobody},
	"client":      {"lets clients choose where Envoy connects", Trusted},
	"code":        {"runs code in the node's Envoy", Trusted},
	"control":     {"would fetch configuration past the API server", nobody},
	"credentials": {"speaks with the credentials of the node", Trusted},
	"environment": {"reads the environment of the node's Envoy", Trusted},
	"file":        {"reaches files of the node", Trusted},
	"listen":      {"listens at an address of the node", Administrator},
	"opaque":      {"cannot be looked into; write the type itself", nobody},
	"past":        {"connects past the clusters that Envoy knows", Trusted},
	"pipe":        {"reaches sockets of the node", Trusted},
	"protection":  {"lifts what protects the node's Envoy", Administrator},
	"shared":      {"would share memory with all other objects", Administrator},
	"spoof":       {"lets clients choose the address that they have", Administrator},
	"tap":         {"records what others send", Trusted},
	"udp":         {"only TCP connections are led to Envoy", nobody},
	"unserved":    {"is not served by the agent", nobody},
	Undecided:     {"nobody has decided yet what it may reach", Trusted},
}

// May tells whether an author may do what is refused for that reason.
func (a Author) May(r Reason) bool { return a >= reasons[r].may }
