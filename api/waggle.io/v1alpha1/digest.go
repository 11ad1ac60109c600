package v1alpha1

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Sizes of what an EnvoyNode says of objects that are answered.
const (
	digestLength = 8
	// longestNames is how many bytes the names of Configs have at most, with
	// what stands around them; more objects are in Digests.
	longestNames = 8 << 10
	aroundName   = 48 // {"namespace":"","name":"","generation":1},
)

// Digest tells a generation of an object from others, in eight characters of
// base64 for URLs. By accident two are never alike; who computes for long finds a
// name that is like another's, and makes a status say more than is so.
func (c AnsweredConfig) Digest() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", c.Namespace, c.Name, c.Generation))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:digestLength]
}

// SetAnswered sets Configs, or Digests where they are many.
func (n *EnvoyNode) SetAnswered(configs []AnsweredConfig) {
	size := 0
	for _, c := range configs {
		size += len(c.Namespace) + len(c.Name) + aroundName
	}
	n.Configs, n.Digests = configs, ""
	if size <= longestNames {
		return
	}
	var digests []string
	for _, c := range configs {
		digests = append(digests, c.Digest())
	}
	slices.Sort(digests)
	n.Configs, n.Digests = nil, strings.Join(slices.Compact(digests), "")
}

// EachDigest yields what Digests is made of.
func (n *EnvoyNode) EachDigest() iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := n.Digests; len(rest) >= digestLength && yield(rest[:digestLength]); {
			rest = rest[digestLength:]
		}
	}
}

// Answered tells whether Envoy has answered a generation of an object, or a newer
// one that is named.
func (n *EnvoyNode) Answered(config AnsweredConfig) bool {
	for _, c := range n.Configs {
		if c.Namespace == config.Namespace && c.Name == config.Name && c.Generation >= config.Generation {
			return true
		}
	}
	digest := config.Digest()
	for d := range n.EachDigest() {
		if d == digest {
			return true
		}
	}
	return false
}
