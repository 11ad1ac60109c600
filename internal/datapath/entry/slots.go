package entry

import "slices"

// Arrange gives values slots so that those which stay keep theirs as far as
// possible.
func Arrange[V comparable](old, values []V) []V {
	slots := make([]V, len(values))
	taken := make([]bool, len(values))
	var homeless []V
	for _, v := range values {
		if slot := slices.Index(old, v); slot >= 0 && slot < len(slots) {
			slots[slot], taken[slot] = v, true
		} else {
			homeless = append(homeless, v)
		}
	}
	for slot := range slots {
		if !taken[slot] {
			slots[slot], homeless = homeless[0], homeless[1:]
		}
	}
	return slots
}
