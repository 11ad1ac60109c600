package model

import (
	"fmt"
	"time"
)

// VirtualHost holds the routes of one host in one route table.
type VirtualHost struct {
	Table string // see TableKey
	// Host is "a.example.com", "*.example.com" (any number of labels before
	// the suffix) or "*", in lower case and without port. The most specific
	// host that matches a request takes it, and no other does.
	Host string
	// Routes stand in order of precedence: the first that matches answers.
	// Where none does, the answer is 404.
	Routes []Route
	// Misdirected hosts are served by another filter chain of the listener;
	// they answer 421 (RFC 9110 §15.5.20) and have no Routes.
	Misdirected bool
}

// Key is unique per table and host.
func (v VirtualHost) Key() string { return Join(v.Table, v.Host) }

// Route answers the requests that match. Exactly one of Forward, Redirect
// and Respond is set.
type Route struct {
	Origin Origin
	// Rank is what its Match makes of its precedence: the lowest goes first.
	// Routes of one rank go by the age of their objects, see Order.
	Rank     uint64
	Match    Match
	Forward  *Forward
	Redirect *Redirect
	Respond  *Respond

	RequestHeaders  HeaderMutation
	ResponseHeaders HeaderMutation
	CORS            *CORS
}

// Origin says which rule a Route was made of.
type Origin struct {
	Object Ref
	Rule   int    // index in spec.rules
	Name   string // the rule's name, if it has one
	Match  int    // index in the rule's matches
	// Created is when Object was; zero where nobody has asked.
	Created time.Time
}

// Order is a text by which routes of one host can be put in order: of two
// routes the one whose text is first takes precedence.
func (r Route) Order() string {
	o := r.Origin
	return fmt.Sprintf("%012x %s %s %s %04d %04d", r.Rank, o.Created.UTC().Format("20060102T150405.000000000Z"), o.Object.Name, o.Object.Kind, o.Rule, o.Match)
}

// Match is a conjunction of conditions on a request.
type Match struct {
	Path    PathMatch
	Method  string // empty matches any
	Headers []ValueMatch
	Query   []ValueMatch
}

// PathMatchKind says how a PathMatch compares.
type PathMatchKind int

// Kinds of PathMatch, as in the Gateway API's HTTPPathMatch.
const (
	PathPrefix PathMatchKind = iota // by whole segments: /a matches /a and /a/b, not /ab
	PathExact
	PathRegex // RE2, the whole path
)

// PathMatch is a condition on a request's path without its query.
type PathMatch struct {
	Kind PathMatchKind
	// Value begins with '/' unless Kind is PathRegex. A prefix has no
	// trailing slash but for "/" itself.
	Value string
}

// ValueMatch is a condition on a header or a query parameter.
type ValueMatch struct {
	Name  string // headers: lower case
	Value string
	Regex bool // Value is RE2 and matches the whole value
}

// Forward sends a request to one of several backends.
type Forward struct {
	// Backends have weights above zero. Where there is none, see Respond.
	Backends []WeightedBackend
	Rewrite  *Rewrite
	Mirrors  []Mirror
	// Timeout bounds the whole exchange with the client, zero: no bound.
	Timeout time.Duration
	// BackendTimeout bounds each try, zero: no bound.
	BackendTimeout time.Duration
	Retry          *Retry
}

// WeightedBackend is one share of a Forward.
type WeightedBackend struct {
	// Backend is zero for a reference that is refused or leads nowhere: its
	// share of requests answers 500.
	Backend Backend
	Weight  uint32 // 1 to 1,000,000

	RequestHeaders  HeaderMutation
	ResponseHeaders HeaderMutation
	Rewrite         *Rewrite
}

// Mirror sends a copy of a share of the requests to another backend, whose
// answers are dropped.
type Mirror struct {
	Backend Backend
	// Numerator of Denominator requests are copied.
	Numerator, Denominator uint32
}

// Retry says which failed requests are tried again. Failures to connect are
// always among them.
type Retry struct {
	Codes    []int // response codes, ascending
	Attempts int   // tries beyond the first; at least 1
	// Backoff is the least time before the second try, zero: Envoy's 25 ms.
	Backoff time.Duration
}

// PathRewriteKind says what a PathRewrite replaces.
type PathRewriteKind int

// Kinds of PathRewrite, as in the Gateway API's HTTPPathModifier.
const (
	ReplaceFullPath PathRewriteKind = iota
	ReplacePrefixMatch
)

// PathRewrite changes a request's path and leaves its query alone.
type PathRewrite struct {
	Kind  PathRewriteKind
	Value string
}

// Rewrite changes what the backend sees.
type Rewrite struct {
	Host string // empty: unchanged
	Path *PathRewrite
}

// Redirect answers with a Location.
type Redirect struct {
	Scheme string // empty: the request's
	Host   string // empty: the request's
	Port   uint16 // zero: none in the Location, the scheme's own
	Path   *PathRewrite
	Status int // 301, 302, 303, 307 or 308
}

// Respond answers without a backend.
type Respond struct{ Status int }

// Header is a name and a value to be sent to the letter: nothing in the
// value is an operator of Envoy's.
type Header struct{ Name, Value string }

// HeaderMutation changes a message's headers: Remove, then Set (overwrite),
// then Add (append to what is there).
type HeaderMutation struct {
	Set, Add []Header
	Remove   []string
}

// Empty tells whether m changes nothing.
func (m HeaderMutation) Empty() bool { return len(m.Set)+len(m.Add)+len(m.Remove) == 0 }

// CORS answers preflight requests and marks responses (Fetch standard,
// Gateway API HTTPCORSFilter).
type CORS struct {
	// AllowOrigins are "*", "https://example.com" or "https://*.example.com".
	AllowOrigins     []string
	AllowMethods     []string // "*": all
	AllowHeaders     []string // "*": all
	ExposeHeaders    []string
	AllowCredentials bool
	MaxAge           time.Duration // zero: the header is left out
}
