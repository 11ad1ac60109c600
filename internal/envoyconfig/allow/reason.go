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
	"address":     {"it leads Envoy to addresses that are not those of a Service", Administrator},
	"backend":     {"it lets backends tell Envoy where to connect", Administrator},
	"bind":        {"the node decides how Envoy's sockets are bound, as the data path tells by that who speaks", nobody},
	"bootstrap":   {"it is for Envoy's start", nobody},
	"client":      {"it lets clients choose where Envoy connects", Trusted},
	"code":        {"it runs code in the node's Envoy", Trusted},
	"control":     {"configuration comes by the API server alone", nobody},
	"credentials": {"it speaks with the credentials of the node", Trusted},
	"environment": {"it reads the environment of the node's Envoy", Trusted},
	"file":        {"it reaches files of the node", Trusted},
	"grant":       {"no ReferenceGrant permits it", nobody},
	"listen":      {"it listens at an address of the node", Administrator},
	"memory":      {"it lets the memory of the node's Envoy grow", Administrator},
	"opaque":      {"its content cannot be looked into", nobody},
	"past":        {"it connects past the clusters that Envoy knows", Trusted},
	"pipe":        {"it reaches sockets of the node", Trusted},
	"protection":  {"it lifts what protects the node's Envoy", Administrator},
	"shared":      {"it would share memory with all other objects", Administrator},
	"space":       {"it is outside of what the object defines", nobody},
	"spoof":       {"it lets clients choose the address that they have", Administrator},
	"tap":         {"it records what others send", Trusted},
	"udp":         {"only TCP connections are led to Envoy", nobody},
	"unserved":    {"agents do not serve it", nobody},
	Undecided:     {"nobody has decided yet what it may reach", Trusted},
}

// May tells whether an author may do what is refused for that reason.
func (a Author) May(r Reason) bool { return a >= reasons[r].may }
