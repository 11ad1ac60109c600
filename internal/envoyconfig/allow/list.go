package allow

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3" // an action
	"google.golang.org/protobuf/reflect/protoreflect"
)

// list.txt has a line for each message that may stand in a resource, and for
// each one that was looked at and may not:
//
//	message: field field!reason field@reference field<16M …
//	message!reason: field …
//	message!reason
//
// The last form is for what only Trusted authors may have, or nobody. A number
// after "<" is the most that a Tenant may say in a field, k and M as usual in
// bytes. A field that a message has and its line has not is refused, and so is
// a message without a line.
//
//go:embed list.txt
var text string

// Undecided is the reason for what nobody has looked at.
const Undecided Reason = "undecided"

// Reference is what the text in a field names.
type Reference string

// References. Those with a Define are where the name is given.
const (
	Cluster        Reference = "cluster"
	Route          Reference = "route" // a RouteConfiguration
	Listener       Reference = "listener"
	Secret         Reference = "secret"
	Endpoints      Reference = "endpoints" // what a Cluster asks for by EDS
	DefineCluster  Reference = "define-cluster"
	DefineRoute    Reference = "define-route"
	DefineListener Reference = "define-listener"
	DefineSecret   Reference = "define-secret"
	DefineEndpoint Reference = "define-endpoints"
)

// decision is what the list says of a field.
type decision struct {
	refused   Reason
	reference Reference
	most      bound
}

// bound is a number as it stands in the list, "128k"; empty: there is none.
type bound string

// value is the number; it is not read where there is none.
func (b bound) value() (uint64, error) {
	digits, factor := string(b), uint64(1)
	if d, ok := strings.CutSuffix(digits, "k"); ok {
		digits, factor = d, 1<<10
	} else if d, ok := strings.CutSuffix(digits, "M"); ok {
		digits, factor = d, 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return n * factor, err
}

// total tells of a message that is refused whether its fields do not matter.
func (r Reason) total() bool { return r != "" && reasons[r].may > Administrator }

// entry is a line of the list.
type entry struct {
	refused Reason
	fields  map[protoreflect.Name]decision
}

var load = sync.OnceValue(func() map[protoreflect.FullName]*entry {
	all, err := parse(text)
	if err != nil {
		panic(err)
	}
	return all
})

func parse(text string) (map[protoreflect.FullName]*entry, error) {
	all := map[protoreflect.FullName]*entry{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		name, hasFields := strings.CutSuffix(words[0], ":")
		name, refused, _ := strings.Cut(name, "!")
		if all[protoreflect.FullName(name)] != nil {
			return nil, fmt.Errorf("%s has two lines", name)
		}
		e := &entry{refused: Reason(refused), fields: map[protoreflect.Name]decision{}}
		all[protoreflect.FullName(name)] = e
		if hasFields == e.refused.total() {
			return nil, fmt.Errorf("%s has fields and needs none, or the other way round", name)
		}
		for _, word := range words[1:] {
			field, refused, _ := strings.Cut(word, "!")
			field, reference, _ := strings.Cut(field, "@")
			field, most, bounded := strings.Cut(field, "<")
			if _, err := bound(most).value(); bounded && err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, field, err)
			}
			e.fields[protoreflect.Name(field)] = decision{Reason(refused), Reference(reference), bound(most)}
		}
	}
	for name, e := range all {
		for field, d := range e.fields {
			if d.refused != "" && reasons[d.refused].text == "" || d.reference != "" && !d.reference.known() {
				return nil, fmt.Errorf("%s.%s: unknown word", name, field)
			}
		}
		if e.refused != "" && reasons[e.refused].text == "" {
			return nil, fmt.Errorf("%s: unknown word", name)
		}
	}
	return all, nil
}

// defines tells of the name of a resource itself.
func (r Reference) defines() bool { return strings.HasPrefix(string(r), "define-") }

func (r Reference) known() bool {
	switch r {
	case Cluster, Route, Listener, Secret, Endpoints, DefineCluster, DefineRoute, DefineListener, DefineSecret, DefineEndpoint:
		return true
	}
	return false
}
