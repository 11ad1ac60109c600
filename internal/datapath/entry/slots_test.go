package entry

import "testing"

// Values that stay keep their slots where they can.
func TestArrange(t *testing.T) {
	for _, c := range [][3]string{
		{"", "abc", "abc"}, {"abc", "abc", "abc"}, {"abc", "cd", "cd"}, {"abcd", "bd", "db"}, {"ab", "cab", "abc"}, {"abc", "", ""}, {"abc", "xbz", "xbz"},
	} {
		if got := string(Arrange([]rune(c[0]), []rune(c[1]))); got != c[2] {
			t.Errorf("%s to %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}
